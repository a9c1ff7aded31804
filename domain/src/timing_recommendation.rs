//! Timing recommendations: when to do something.

use validator::ValidationError;

use crate::{
    User,
    document::{Field, Filter, Index, Typed, asc, document, part},
    noun::*,
};

/// The id of a timing recommendation.
pub type TimingRecommendationId = Id<TimingRecommendation>;

part! {
    /// A good time: it ends after it begins.
    #[validate(schema(function = "ends_after_it_begins"))]
    pub struct Window {
        pub start as START: Timestamp,
        pub end as END: Timestamp,
        /// How good it is.
        #[validate(range(min = 0, max = 100))]
        pub score as SCORE: Option<i64>,
    }
}

document! {
    /// When to do something.
    pub struct TimingRecommendation = "timing recommendation" in "timingRecommendations" {
        pub user_id as USER_ID: Id<User>,
        #[validate(length(min = 1, max = 200))]
        pub activity as ACTIVITY: String,
        #[validate(length(min = 1, max = 100), nested)]
        pub windows as WINDOWS: Vec<Window>,
        #[serde(default)]
        #[validate(length(max = 100))]
        pub risks as RISKS: Vec<String>,
    }
    schema: 1,
    indexes: [
        Index::on("user_id_activity", [asc(TimingRecommendation::USER_ID), asc(TimingRecommendation::ACTIVITY)]),
        Index::on("windows_start", [asc(TimingRecommendation::START)]),
        Index::text("words", [TimingRecommendation::ACTIVITY.untyped(), TimingRecommendation::RISKS.untyped()]),
    ],
}

impl TimingRecommendation {
    /// When the good times begin.
    pub const START: Field<Self, Timestamp> = Field::at("windows.start");

    /// What has a good time at this instant.
    pub fn good_at(instant: Timestamp) -> Typed<Self, Filter> {
        Self::WINDOWS.any(Window::START.lte(instant).and(Window::END.gt(instant)))
    }
}

fn ends_after_it_begins(window: &Window) -> Result<(), ValidationError> {
    if window.start < window.end {
        return Ok(());
    }
    Err(ValidationError::new("window").with_message("must end after it begins".into()))
}
