//! What can be told from one act alone.

use sqlparser::tokenizer::Token;

use super::{
    act::{Act, Action, Name, Type},
    known::mentions,
};

/// Functions whose value is the same for all rows of a statement.
const STEADY: &[&str] = &[
    "abs",
    "array",
    "array_fill",
    "cast",
    "ceil",
    "coalesce",
    "concat",
    "current_date",
    "current_setting",
    "current_time",
    "current_timestamp",
    "date",
    "date_part",
    "date_trunc",
    "decode",
    "encode",
    "extract",
    "floor",
    "format",
    "greatest",
    "interval",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "least",
    "left",
    "length",
    "localtime",
    "localtimestamp",
    "lower",
    "make_date",
    "make_interval",
    "make_timestamptz",
    "md5",
    "now",
    "nullif",
    "numeric",
    "replace",
    "right",
    "round",
    "row",
    "statement_timestamp",
    "timestamp",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_timestamp",
    "to_tsvector",
    "transaction_timestamp",
    "trim",
    "txid_current",
    "upper",
    "varchar",
];

/// Whether something takes its time, or another lock, while a table is locked.
pub(super) fn is_long_after(act: &Act, locked: &Name) -> bool {
    match act {
        Act::AlterTable { table, .. }
        | Act::OnTable { table }
        | Act::CreateTrigger { table, .. }
        | Act::DropTrigger { table, .. } => table != locked,
        Act::CreateTable(create) => create.of_query && create.name != *locked,
        Act::Set { .. }
        | Act::ResetAll
        | Act::Transaction
        | Act::Quick { .. }
        | Act::Grant { .. }
        | Act::CreateSchema(_)
        | Act::CreateEnum(_)
        | Act::CreateFunction { .. }
        | Act::MakeDefiner(_)
        | Act::CreateSequence { .. }
        | Act::Domain { .. }
        | Act::AddValue { .. }
        | Act::RenameValue { .. }
        | Act::RenameType(_)
        | Act::RenameSchema { .. }
        | Act::Block(_)
        | Act::Wrong(_) => false,
        Act::CreateView { is_materialized, .. } => *is_materialized,
        _ => true,
    }
}

/// Whether an action can share a statement with others.
pub(super) fn is_combinable(action: &Action) -> bool {
    matches!(
        action,
        Action::AddColumn { .. }
            | Action::DropColumn { .. }
            | Action::AddConstraint(_)
            | Action::DropConstraint { .. }
            | Action::SetType { .. }
            | Action::SetNotNull(_)
            | Action::DropNotNull(_)
            | Action::SetColumn
            | Action::DropDefault(_)
            | Action::SetStorage
    )
}

/// Whether `USING` only says in other words what happens anyway.
pub(super) fn is_cast_only(using: &[Token], column: &str, kind: &Type) -> bool {
    let is_name = |token: &Token| mentions(std::slice::from_ref(token), column);
    let words: Vec<&Token> = using.iter().filter(|token| !matches!(token, Token::LParen | Token::RParen)).collect();
    match &words[..] {
        [name] => is_name(name),
        [name, Token::DoubleColon, Token::Word(cast)] => is_name(name) && cast.value.eq_ignore_ascii_case(&kind.name),
        _ => false,
    }
}

/// Whether one type becomes another without a row being written.
pub(super) fn is_widening(from: &Type, to: &Type, is_utc: bool) -> bool {
    let number = |kind: &Type, at: usize| kind.arguments.get(at).map(|argument| argument.parse::<u32>().unwrap_or(0));
    if from == to {
        return true;
    }
    if from.is_array != to.is_array {
        return false;
    }
    // No limit is wider than any.
    let wider = |at: usize| match (number(from, at), number(to, at)) {
        (_, None) => true,
        (Some(from), Some(to)) => from <= to,
        (None, Some(_)) => false,
    };
    match (from.name.as_str(), to.name.as_str()) {
        ("varchar", "text") | ("cidr", "inet") => true,
        ("text", "varchar") => to.arguments.is_empty(),
        ("varchar", "varchar")
        | ("varbit", "varbit")
        | ("timestamptz", "timestamptz")
        | ("timestamp", "timestamp")
        | ("time", "time")
        | ("interval", "interval") => wider(0),
        ("numeric", "numeric") => {
            to.arguments.is_empty()
                || (wider(0)
                    && number(from, 1).unwrap_or(0) == number(to, 1).unwrap_or(0)
                    && !from.arguments.is_empty())
        }
        ("timestamp", "timestamptz") => is_utc && wider(0),
        _ => false,
    }
}

/// Whether a default may differ from row to row: it calls what is not known to be the same for all.
pub(super) fn is_volatile(tokens: &[Token]) -> bool {
    tokens.windows(2).any(|pair| match pair {
        [Token::Word(word), Token::LParen] => !STEADY.contains(&word.value.to_lowercase().as_str()),
        _ => false,
    })
}

/// Whether a statement does something that lasts.
pub(super) fn is_step(act: &Act) -> bool {
    !matches!(act, Act::Set { .. } | Act::ResetAll | Act::Query | Act::Transaction)
}

/// Whether a statement does no harm when it is run a second time.
pub(super) fn is_repeatable(act: &Act) -> bool {
    match act {
        Act::CreateTable(create) => create.if_not_exists,
        Act::DropRelations { if_exists, .. }
        | Act::DropIndexes { if_exists, .. }
        | Act::DropTrigger { if_exists, .. } => *if_exists,
        Act::CreateIndex(create) => create.if_not_exists || create.concurrently,
        Act::AlterTable { actions, .. } => actions.iter().all(|action| match action {
            Action::AddColumn { if_not_exists, .. } => *if_not_exists,
            Action::DropColumn { if_exists, .. } | Action::DropConstraint { if_exists, .. } => *if_exists,
            Action::AddConstraint(_)
            | Action::RenameColumn { .. }
            | Action::RenameConstraint { .. }
            | Action::Rename(_)
            | Action::SetSchema(_) => false,
            _ => true,
        }),
        Act::AddValue { if_not_exists, .. } => *if_not_exists,
        Act::CreateFunction { replaces, .. } | Act::CreateTrigger { replaces, .. } => *replaces,
        Act::Insert { is_repeatable, .. } | Act::Quick { is_repeatable } => *is_repeatable,
        Act::CreateEnum(_)
        | Act::RenameValue { .. }
        | Act::RenameType(_)
        | Act::RenameAttribute(_)
        | Act::RenameSchema { .. }
        | Act::CreateView { .. }
        | Act::CreateSequence { .. }
        | Act::Domain { .. } => false,
        _ => true,
    }
}

/// Whether a condition is that a column is not NULL, and nothing else.
pub(super) fn says_not_null(condition: &[Token], column: &str) -> bool {
    let words = condition.iter().filter(|token| !matches!(token, Token::LParen | Token::RParen));
    let words: Vec<String> = words.map(|token| token.to_string().replace('"', "").to_lowercase()).collect();
    words == [column.to_lowercase().as_str(), "is", "not", "null"]
}
