//! Transfers: money that went from one account to another. They are only ever added.

use async_trait::async_trait;
use entity::{accounts, transfers as row};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, LockType, Query},
};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    account::{Account, AccountId},
    error::{Error, Result},
    fault,
    id::Id,
    record::{FIRST_VERSION, Filter, Insert, Narrow, NewRow, Record, Stamp, Stored},
    relation::{Related, Relation},
    unit_of_work::UnitOfWork,
    value::Timestamp,
};

/// The id of a transfer.
pub type TransferId = Id<Transfer>;

/// Money that went from one account to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    pub id: TransferId,
    pub from_account_id: AccountId,
    pub to_account_id: AccountId,
    /// In minor units of the currency that both accounts have.
    pub amount: i64,
    pub created_at: Timestamp,
}

/// What is needed to make a transfer.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewTransfer {
    pub from_account_id: AccountId,
    pub to_account_id: AccountId,
    /// In minor units of the currency that both accounts have.
    #[validate(range(min = 1))]
    pub amount: i64,
}

/// Which transfers are meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TransferFilter {
    pub from_account_id: Option<AccountId>,
    pub to_account_id: Option<AccountId>,
    /// On either side.
    pub account_id: Option<AccountId>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
}

impl Transfer {
    /// The account that paid.
    pub const FROM: Relation<Transfer, Account> = Relation::belongs_to("from_account", "from_account_id");
    /// The account that was paid.
    pub const TO: Relation<Transfer, Account> = Relation::belongs_to("to_account", "to_account_id");
}

impl Stored for Transfer {
    type Entity = row::Entity;
    const SORTABLE: &'static [row::Column] = &[row::Column::Amount, row::Column::CreatedAt];

    fn from_row(row: row::Model) -> Result<Self> {
        let row::Model { id, from_account_id, to_account_id, amount, created_at } = row;
        Ok(Self {
            id: Id::new(id),
            from_account_id: Id::new(from_account_id),
            to_account_id: Id::new(to_account_id),
            amount,
            created_at: created_at.into(),
        })
    }
}

impl Record for Transfer {
    type Filter = TransferFilter;
    const NOUN: &'static str = "transfer";
    const ONLY_ADDED: bool = true;

    fn id(&self) -> TransferId {
        self.id
    }

    fn version(&self) -> i64 {
        FIRST_VERSION
    }

    fn relations() -> &'static [&'static dyn Related] {
        &[&Self::FROM, &Self::TO]
    }
}

impl NewRow for NewTransfer {
    type Record = Transfer;

    fn into_row(self, Stamp { id, now }: Stamp) -> row::Model {
        let Self { from_account_id, to_account_id, amount } = self;
        row::Model {
            id,
            from_account_id: from_account_id.uuid(),
            to_account_id: to_account_id.uuid(),
            amount,
            created_at: now.into(),
        }
    }
}

#[async_trait]
impl Insert for NewTransfer {
    /// Moves the money.
    async fn before(&self, work: &UnitOfWork) -> Result<()> {
        if self.from_account_id == self.to_account_id {
            return Err(Error::invalid("to_account_id", "same_account", "must be another account"));
        }
        // Nothing is written before everything is known to be right: a refusal leaves the unit of work as it was.
        let accounts = self.lock_accounts(work).await?;
        self.check(&accounts)?;
        self.move_money(work).await
    }
}

impl NewTransfer {
    /// Both accounts, held until the unit of work ends; in the order of their ids, so that no two transfers wait for each
    /// other, and in one statement. Not `FOR UPDATE`: a row that refers to an account may be written meanwhile.
    async fn lock_accounts(&self, work: &UnitOfWork) -> Result<Vec<accounts::Model>> {
        let both = accounts::Entity::find()
            .filter(accounts::Column::Id.is_in([self.from_account_id.uuid(), self.to_account_id.uuid()]))
            .order_by_asc(accounts::Column::Id)
            .lock(LockType::NoKeyUpdate);
        work.run(async move |transaction| both.all(transaction).await.map_err(fault::unavailable)).await
    }

    fn check(&self, accounts: &[accounts::Model]) -> Result<()> {
        let account = |id: AccountId, field| {
            let found = accounts.iter().find(|account| account.id == id.uuid());
            found.ok_or_else(|| Error::invalid(field, "reference", "does not exist"))
        };
        let from = account(self.from_account_id, "from_account_id")?;
        let to = account(self.to_account_id, "to_account_id")?;
        if from.currency != to.currency {
            let message = format!("must be an account in {}, like the other; it is in {}", from.currency, to.currency);
            return Err(Error::invalid("to_account_id", "currency", message));
        }
        if from.balance < self.amount {
            return Err(Error::refused("insufficient_funds", "the account does not hold that much"));
        }
        if to.balance.checked_add(self.amount).is_none() {
            return Err(Error::refused("balance_overflow", "the receiving account cannot hold that much"));
        }
        Ok(())
    }

    async fn move_money(&self, work: &UnitOfWork) -> Result<()> {
        let Self { from_account_id: from, to_account_id: to, amount } = *self;
        let change = Expr::case(Expr::col(accounts::Column::Id).eq(from.uuid()), amount.saturating_neg());
        let mut update = Query::update();
        update
            .table(accounts::Entity)
            .value(accounts::Column::Balance, Expr::col(accounts::Column::Balance).add(change.finally(amount)))
            .value(accounts::Column::Version, Expr::col(accounts::Column::Version).add(1))
            .value(accounts::Column::UpdatedAt, chrono::DateTime::<chrono::FixedOffset>::from(work.now()))
            .and_where(Expr::col(accounts::Column::Id).is_in([from.uuid(), to.uuid()]));
        work.run(async move |transaction| {
            transaction.execute(&update).await.map(|_| ()).map_err(fault::translate::<accounts::Entity>)
        })
        .await
    }
}

impl Narrow for TransferFilter {
    fn condition(&self) -> Condition {
        let Self { from_account_id, to_account_id, account_id, created_after, created_before } = self;
        let from = |id: AccountId| row::Column::FromAccountId.eq(id.uuid());
        let to = |id: AccountId| row::Column::ToAccountId.eq(id.uuid());
        Condition::all()
            .add_option(from_account_id.map(from))
            .add_option(to_account_id.map(to))
            .add_option(account_id.map(|id| Condition::any().add(from(id)).add(to(id))))
            .add_option(created_after.map(|at| row::Column::CreatedAt.gt(at.utc())))
            .add_option(created_before.map(|at| row::Column::CreatedAt.lt(at.utc())))
    }
}

impl Filter for TransferFilter {
    type Record = Transfer;
}
