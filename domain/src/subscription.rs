//! Subscriptions: what a user pays for, and how it stands. A user has one active one at most.

use crate::{User, UserId, noun::*};

/// The id of a subscription.
pub type SubscriptionId = Id<Subscription>;

text_enum! {
    /// How a subscription stands.
    pub enum SubscriptionStatus {
        /// Free for a while.
        Trialing = "trialing",
        /// Paid.
        Active = "active",
        /// A payment is missing.
        PastDue = "past_due",
        /// Ended for good.
        Canceled = "canceled",
    }
}

impl SubscriptionStatus {
    /// Those that a new subscription may have.
    const FIRST: &'static [Self] = &[Self::Trialing, Self::Active];

    /// Those that may come after it.
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Trialing | Self::PastDue => &[Self::Active, Self::Canceled],
            Self::Active => &[Self::PastDue, Self::Canceled],
            Self::Canceled => &[],
        }
    }

    fn step_to(self, to: Self) -> Result<()> {
        if to == self || self.next().contains(&to) {
            return Ok(());
        }
        let message = match self.next() {
            [] => format!("a subscription that is {self} stays so: it cannot become {to}"),
            next => format!("a subscription that is {self} cannot become {to}, only {}", listed(next)),
        };
        Err(Error::refused("illegal_status", message))
    }
}

fn listed(statuses: &[SubscriptionStatus]) -> String {
    statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or ")
}

record! {
    /// What a user pays for.
    pub struct Subscription = "subscription" in subscriptions {
        pub user_id: UserId,
        pub plan: String,
        pub status: SubscriptionStatus,
        /// The user's id at Stripe.
        pub stripe_customer_id: Option<String>,
        pub period_start: Timestamp,
        pub period_end: Timestamp,
    }
    sort: [plan, period_start, period_end, created_at],
    filter: SubscriptionFilter {
        user_id: UserId,
        plan: String,
        status: SubscriptionStatus,
        stripe_customer_id: String,
    },
    sensitive: [stripe_customer_id],
    relations: {
        /// Who pays.
        USER: Relation<Subscription, User> = Relation::belongs_to("user", "user_id"),
    },
}

new! {
    /// What is needed to make a subscription.
    pub struct NewSubscription => Subscription {
        pub user_id: UserId,
        #[validate(length(min = 1, max = 64), custom(function = "line"))]
        pub plan: String,
        /// Trialing or active; trialing, if nothing is said.
        pub status: Option<SubscriptionStatus> => status.unwrap_or(SubscriptionStatus::Trialing),
        #[validate(length(min = 1, max = 255), custom(function = "line"))]
        pub stripe_customer_id: Option<String>,
        pub period_start: Timestamp,
        pub period_end: Timestamp,
    }
}

patch! {
    /// A change of a subscription.
    pub struct SubscriptionPatch => Subscription keeps { user_id } {
        #[validate(length(min = 1, max = 64), custom(function = "line"))]
        pub plan: Change<String>,
        pub status: Change<SubscriptionStatus>,
        #[validate(length(min = 1, max = 255), custom(function = "line"))]
        pub stripe_customer_id: Change<Option<String>>,
        pub period_start: Change<Timestamp>,
        pub period_end: Change<Timestamp>,
    }
}

#[async_trait]
impl Insert for NewSubscription {
    async fn before(&self, _work: &UnitOfWork) -> Result<()> {
        if self.status.is_some_and(|status| !SubscriptionStatus::FIRST.contains(&status)) {
            let message = format!("must begin {}", listed(SubscriptionStatus::FIRST));
            return Err(Error::invalid("status", "first_status", message));
        }
        check_period(self.period_start, self.period_end)
    }
}

#[async_trait]
impl Patch for SubscriptionPatch {
    async fn before(&self, id: SubscriptionId, work: &UnitOfWork) -> Result<()> {
        let Self { plan: _, status, stripe_customer_id: _, period_start, period_end } = self;
        if (status, period_start, period_end) == (&Change::Keep, &Change::Keep, &Change::Keep) {
            return Ok(());
        }
        let present = work.find(id).await?;
        if let Some(status) = status.as_set() {
            present.status.step_to(*status)?;
        }
        let start = period_start.as_set().unwrap_or(&present.period_start);
        let end = period_end.as_set().unwrap_or(&present.period_end);
        check_period(*start, *end)
    }
}

fn check_period(start: Timestamp, end: Timestamp) -> Result<()> {
    if end > start { Ok(()) } else { Err(Error::invalid("period_end", "period", "must be later than period_start")) }
}

#[cfg(test)]
mod tests {
    use super::{SubscriptionStatus::*, *};

    #[test]
    fn every_step_is_allowed_or_refused() {
        let allowed = [
            (Trialing, Active),
            (Trialing, Canceled),
            (Active, PastDue),
            (Active, Canceled),
            (PastDue, Active),
            (PastDue, Canceled),
        ];
        for &from in SubscriptionStatus::ALL {
            for &to in SubscriptionStatus::ALL {
                let legal = from == to || allowed.contains(&(from, to));
                match from.step_to(to) {
                    Ok(()) => assert!(legal, "{from} became {to}"),
                    Err(Error::Refused { code, message }) => {
                        assert!(!legal, "{from} could not become {to}");
                        assert_eq!(code, "illegal_status");
                        for named in [from, to].iter().chain(from.next()) {
                            assert!(message.contains(named.as_str()), "{message} does not name {named}");
                        }
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }

    #[test]
    fn a_period_ends_after_it_starts() {
        let [early, late] = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z"]
            .map(|text| serde_json::from_value::<Timestamp>(text.into()).unwrap());
        assert!(check_period(early, late).is_ok());
        for (start, end) in [(early, early), (late, early)] {
            let Err(Error::Invalid(errors)) = check_period(start, end) else { panic!("{start} to {end}") };
            assert_eq!(errors[0].pointer, "/period_end");
        }
    }
}
