//! What is compared: the same operations, written in several ways.

use uuid::Uuid;

use crate::fixture::{Fixture, Outcome};

/// How many users are read, and how many each contender has to itself to change.
const READ: usize = 100;

/// One way of working with the database. Each operation says how much it saw, so that all can be seen to do the same.
pub(crate) trait Contender {
    async fn find(&self, place: &Place) -> Outcome<usize>;
    async fn list(&self, place: &Place) -> Outcome<usize>;
    async fn page(&self, place: &Place) -> Outcome<usize>;
    async fn relations(&self, place: &Place) -> Outcome<usize>;
    async fn insert(&self, place: &Place) -> Outcome<usize>;
    async fn update(&self, place: &Place) -> Outcome<usize>;
    async fn transfer(&self, place: &Place) -> Outcome<usize>;
    /// In one transaction: reads a user, inserts a tag, and changes the user.
    async fn unit(&self, place: &Place) -> Outcome<usize>;
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Find,
    List,
    Page,
    Relations,
    Insert,
    Update,
    Transfer,
    Unit,
}

impl Operation {
    pub(crate) const ALL: [Self; 8] =
        [Self::Find, Self::List, Self::Page, Self::Relations, Self::Insert, Self::Update, Self::Transfer, Self::Unit];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Find => "find by id",
            Self::List => "list, a page of 50",
            Self::Page => "page of 100 with relations",
            Self::Relations => "one with all relations",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Transfer => "transfer",
            Self::Unit => "unit of work",
        }
    }

    /// How often in a round.
    pub(crate) fn times(self) -> u64 {
        match self {
            Self::Find => 1_000,
            Self::List | Self::Relations => 200,
            Self::Page => 15,
            Self::Insert | Self::Update | Self::Transfer | Self::Unit => 150,
        }
    }

    pub(crate) async fn run(self, contender: &impl Contender, place: &Place) -> Outcome<usize> {
        match self {
            Self::Find => contender.find(place).await,
            Self::List => contender.list(place).await,
            Self::Page => contender.page(place).await,
            Self::Relations => contender.relations(place).await,
            Self::Insert => contender.insert(place).await,
            Self::Update => contender.update(place).await,
            Self::Transfer => contender.transfer(place).await,
            Self::Unit => contender.unit(place).await,
        }
    }
}

/// Where an operation is done.
pub(crate) struct Place {
    /// A number that no other place has.
    pub(crate) number: u64,
    /// A user to read.
    pub(crate) user: Uuid,
    /// A user that nobody else changes.
    pub(crate) own_user: Uuid,
    /// The version of that user.
    pub(crate) version: i64,
    /// Two accounts that nobody else uses.
    pub(crate) accounts: [Uuid; 2],
}

/// The places of one contender: the same for each, but for what is changed.
pub(crate) struct Places {
    contender: usize,
    /// How many places were asked for.
    number: u64,
    /// How many of them were for updates.
    updates: usize,
}

impl Places {
    pub(crate) fn new(contender: usize) -> Self {
        Self { contender, number: 0, updates: 0 }
    }

    /// Places for counting, apart from those for measuring: enough for 20 updates and 20 units by each of 5 contenders.
    pub(crate) fn counting(contender: usize) -> Self {
        Self { contender: 3, number: 100_000 * (contender as u64 + 1), updates: 40 * contender }
    }

    pub(crate) fn next(&mut self, fixture: &Fixture, operation: Operation) -> Place {
        let number = self.number;
        self.number += 1;
        let at = usize::try_from(number).unwrap();
        let own = READ * (1 + self.contender);
        let update = self.updates;
        self.updates += usize::from(matches!(operation, Operation::Update | Operation::Unit));
        let account = 2 * (own + at % READ);
        Place {
            number: number * 4 + self.contender as u64,
            user: fixture.users[at % READ],
            own_user: fixture.users[own + update % READ],
            version: i64::try_from(update / READ).unwrap() + 1,
            accounts: [fixture.accounts[account], fixture.accounts[account + 1]],
        }
    }
}
