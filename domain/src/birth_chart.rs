//! Birth charts: where the planets stood when and where somebody was born.

use crate::{
    User,
    document::{Field, Index, Point, asc, document, part},
    noun::*,
};

/// The id of a birth chart.
pub type BirthChartId = Id<BirthChart>;

part! {
    /// When and where somebody was born.
    pub struct BirthData {
        pub date as DATE: Day,
        /// The local time as in `06:45`, if that is known.
        #[validate(length(min = 5, max = 5))]
        pub time as TIME: Option<String>,
        pub place as PLACE: Point,
        #[validate(length(min = 1, max = 200))]
        pub place_name as PLACE_NAME: Option<String>,
    }
}

part! {
    /// Where a planet stood.
    pub struct Position {
        #[validate(length(min = 1, max = 50))]
        pub planet as PLANET: String,
        /// Degrees along the ecliptic.
        #[validate(range(min = 0.0, max = 360.0))]
        pub longitude as LONGITUDE: f64,
        #[validate(range(min = 1, max = 12))]
        pub house as HOUSE: Option<i64>,
        #[serde(default)]
        pub is_retrograde as IS_RETROGRADE: bool,
    }
}

document! {
    /// Where the planets stood when and where somebody was born.
    pub struct BirthChart = "birth chart" in "birthCharts" {
        pub user_id as USER_ID: Id<User>,
        #[validate(length(min = 1, max = 200))]
        pub name as NAME: String,
        #[validate(nested)]
        pub birth_data as BIRTH_DATA: BirthData,
        #[validate(length(min = 1, max = 100), nested)]
        pub positions as POSITIONS: Vec<Position>,
        #[validate(length(max = 10000))]
        pub notes as NOTES: Option<String>,
    }
    schema: 1,
    sensitive: [birth_data],
    indexes: [
        Index::on("user_id", [asc(BirthChart::USER_ID)]),
        Index::on("birth_date", [asc(BirthChart::DATE)]),
        Index::geo("birth_place", BirthChart::PLACE),
        Index::text("words", [BirthChart::NAME.untyped(), BirthChart::NOTES.untyped()]),
    ],
}

impl BirthChart {
    /// The day of birth.
    pub const DATE: Field<Self, Day> = Field::at("birth_data.date");
    /// The place of birth.
    pub const PLACE: Field<Self, Point> = Field::at("birth_data.place");
}
