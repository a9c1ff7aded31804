//! Planetary insights: what a day is good for.

use crate::{
    User,
    document::{Index, asc, desc, document},
    noun::*,
};

/// The id of a planetary insight.
pub type PlanetaryInsightId = Id<PlanetaryInsight>;

document! {
    /// What a day is good for.
    pub struct PlanetaryInsight = "planetary insight" in "planetaryInsights" {
        pub user_id as USER_ID: Id<User>,
        pub date as DATE: Day,
        #[validate(range(min = 0, max = 100))]
        pub energy_level as ENERGY_LEVEL: i64,
        #[validate(length(max = 10000))]
        pub summary as SUMMARY: Option<String>,
        #[serde(default)]
        #[validate(length(max = 100))]
        pub recommendations as RECOMMENDATIONS: Vec<String>,
    }
    schema: 1,
    indexes: [
        Index::on("user_id_date", [asc(PlanetaryInsight::USER_ID), desc(PlanetaryInsight::DATE)]),
        Index::on("energy_level", [asc(PlanetaryInsight::ENERGY_LEVEL)]),
        Index::text("words", [PlanetaryInsight::SUMMARY.untyped(), PlanetaryInsight::RECOMMENDATIONS.untyped()]),
    ],
}
