//! Reads what is said of tables: their columns and constraints, and how they change.

use sqlparser::tokenizer::Token;

use super::{
    act::{Act, Action, Column, Constraint, ConstraintKind, CreateTable, Name, Relation},
    cursor::{Cursor, bare, split},
};

/// With what a constraint of a column begins, or what else ends the expression of a default.
const CONSTRAINTS: &[&str] = &[
    "CONSTRAINT",
    "NOT",
    "NULL",
    "CHECK",
    "UNIQUE",
    "PRIMARY",
    "REFERENCES",
    "GENERATED",
    "COLLATE",
    "DEFAULT",
    "DEFERRABLE",
    "INITIALLY",
    "STORAGE",
    "COMPRESSION",
];

/// From behind `CREATE TABLE`.
pub(super) fn create_table(mut at: Cursor<'_>, is_temporary: bool) -> Option<Act> {
    let if_not_exists = at.if_not_exists();
    let name = at.name()?;
    let mut table = CreateTable {
        name,
        is_temporary,
        if_not_exists,
        of_query: false,
        columns: Vec::new(),
        constraints: Vec::new(),
    };
    let is_part = at.take(&["PARTITION", "OF"]);
    if is_part || at.take(&["OF"]) {
        at.name()?;
    }
    if let Some(inner) = at.parenthesized() {
        for part in split(inner) {
            element(Cursor::new(part), &mut table)?;
        }
    }
    if is_part && !at.take(&["DEFAULT"]) {
        at.take(&["FOR", "VALUES"]).then_some(())?;
        at.until(&["PARTITION", "USING", "WITH", "TABLESPACE"]);
        // `WITH (MODULUS …)` is of the values.
        if at.take(&["WITH"]) {
            at.parenthesized()?;
        }
    }
    while !at.is_at_end() {
        if at.take(&["AS"]) {
            table.of_query = true;
            break;
        } else if at.take(&["INHERITS"]) || at.take(&["WITH"]) {
            at.parenthesized()?;
        } else if at.take(&["PARTITION", "BY"]) {
            at.next()?;
            at.parenthesized()?;
        } else if at.take(&["USING"]) || at.take(&["TABLESPACE"]) || at.take(&["SERVER"]) {
            at.identifier()?;
        } else if at.take(&["OPTIONS"]) {
            at.parenthesized()?;
        } else if at.take(&["ON", "COMMIT"]) {
            at.until(&["AS", "TABLESPACE"]);
        } else if !at.take(&["WITHOUT", "OIDS"]) {
            return None;
        }
    }
    Some(Act::CreateTable(table))
}

/// A column or a constraint of a new table, or what it takes from another.
fn element(mut at: Cursor<'_>, table: &mut CreateTable) -> Option<()> {
    if at.take(&["LIKE"]) {
        at.name()?;
        while at.take(&["INCLUDING"]) || at.take(&["EXCLUDING"]) {
            at.next()?;
        }
    } else if let Some(constraint) = table_constraint(&mut at) {
        table.constraints.push(constraint);
    } else {
        table.columns.push(column(&mut at)?);
    }
    at.is_at_end().then_some(())
}

pub(super) fn column(at: &mut Cursor<'_>) -> Option<Column> {
    let mut column = Column { name: at.identifier()?, ..Column::default() };
    // A column of a partition or of a typed table has no type of its own.
    if !at.take(&["WITH", "OPTIONS"]) && !at.is_at_end() && !CONSTRAINTS.iter().any(|word| at.is(word)) {
        column.kind = at.kind()?;
    }
    let mut name = None;
    while !at.is_at_end() {
        if at.take(&["CONSTRAINT"]) {
            name = Some(at.identifier()?);
            continue;
        }
        let own = vec![column.name.clone()];
        let kind = if at.take(&["CHECK"]) {
            let condition = bare(at.parenthesized()?);
            at.take(&["NO", "INHERIT"]);
            ConstraintKind::Check(condition)
        } else if at.take(&["UNIQUE"]) {
            nulls(at);
            index_parameters(at)?;
            ConstraintKind::Unique(own)
        } else if at.take(&["PRIMARY", "KEY"]) {
            index_parameters(at)?;
            ConstraintKind::PrimaryKey(own)
        } else if at.take(&["REFERENCES"]) {
            ConstraintKind::ForeignKey { columns: own, parent: references(at)? }
        } else {
            property(at, &mut column)?;
            name = None;
            continue;
        };
        column.constraints.push(Constraint { name: name.take(), kind, not_valid: false });
    }
    Some(column)
}

/// What is said of a column and is no constraint of the table.
fn property(at: &mut Cursor<'_>, column: &mut Column) -> Option<()> {
    if at.take(&["NOT", "NULL"]) {
        column.not_null = true;
        at.take(&["NO", "INHERIT"]);
    } else if at.take(&["DEFAULT"]) {
        let start = at.rest();
        // Whatever it begins with is a part of it, `NULL` for one.
        if at.parenthesized().is_none() {
            at.next()?;
        }
        at.until(CONSTRAINTS);
        column.default = Some(bare(&start[..start.len() - at.rest().len()]));
    } else if at.take(&["GENERATED"]) {
        at.until(&["AS"]);
        at.take(&["AS"]).then_some(())?;
        if at.take(&["IDENTITY"]) {
            column.is_identity = true;
            at.parenthesized();
        } else {
            column.generated = Some(bare(at.parenthesized()?));
            at.take(&["STORED"]).then_some(())?;
        }
    } else if at.take(&["COLLATE"]) {
        at.name()?;
    } else if at.take(&["STORAGE"]) || at.take(&["COMPRESSION"]) {
        at.next()?;
    } else if at.take(&["OPTIONS"]) {
        at.parenthesized()?;
    } else if !at.take(&["NULL"]) && !deferral(at) {
        return None;
    }
    Some(())
}

fn deferral(at: &mut Cursor<'_>) -> bool {
    at.take(&["NOT", "DEFERRABLE"])
        || at.take(&["DEFERRABLE"])
        || at.take(&["INITIALLY", "DEFERRED"])
        || at.take(&["INITIALLY", "IMMEDIATE"])
}

fn index_parameters(at: &mut Cursor<'_>) -> Option<()> {
    loop {
        if at.take(&["INCLUDE"]) || at.take(&["WITH"]) {
            at.parenthesized()?;
        } else if at.take(&["USING", "INDEX", "TABLESPACE"]) {
            at.identifier()?;
        } else {
            return Some(());
        }
    }
}

/// From behind `REFERENCES`.
fn references(at: &mut Cursor<'_>) -> Option<Name> {
    let parent = at.name()?;
    at.parenthesized();
    loop {
        if at.take(&["MATCH"]) {
            at.next()?;
        } else if at.take(&["ON", "DELETE"]) || at.take(&["ON", "UPDATE"]) {
            let _is_done = at.take(&["NO", "ACTION"])
                || at.take(&["SET", "NULL"])
                || at.take(&["SET", "DEFAULT"])
                || at.next().is_some();
            at.parenthesized();
        } else {
            return Some(parent);
        }
    }
}

/// A constraint of a table; none, and nothing taken, if there is no such thing.
pub(super) fn table_constraint(at: &mut Cursor<'_>) -> Option<Constraint> {
    let mut ahead = *at;
    let name = if ahead.take(&["CONSTRAINT"]) { Some(ahead.identifier()?) } else { None };
    let kind = if ahead.take(&["CHECK"]) {
        ConstraintKind::Check(bare(ahead.parenthesized()?))
    } else if ahead.take(&["UNIQUE"]) {
        nulls(&mut ahead);
        unique(&mut ahead, ConstraintKind::Unique)?
    } else if ahead.take(&["PRIMARY", "KEY"]) {
        unique(&mut ahead, ConstraintKind::PrimaryKey)?
    } else if ahead.take(&["FOREIGN", "KEY"]) {
        let columns = ahead.columns()?;
        ahead.take(&["REFERENCES"]).then_some(())?;
        ConstraintKind::ForeignKey { columns, parent: references(&mut ahead)? }
    } else if ahead.take(&["EXCLUDE"]) {
        if ahead.take(&["USING"]) {
            ahead.identifier()?;
        }
        ahead.parenthesized()?;
        index_parameters(&mut ahead)?;
        if ahead.take(&["WHERE"]) {
            ahead.parenthesized()?;
        }
        ConstraintKind::Exclusion
    } else {
        return None;
    };
    let mut not_valid = false;
    loop {
        if ahead.take(&["NOT", "VALID"]) {
            not_valid = true;
        } else if !ahead.take(&["NO", "INHERIT"]) && !deferral(&mut ahead) {
            break;
        }
    }
    *at = ahead;
    Some(Constraint { name, kind, not_valid })
}

fn unique(at: &mut Cursor<'_>, kind: impl FnOnce(Vec<String>) -> ConstraintKind) -> Option<ConstraintKind> {
    if at.take(&["USING", "INDEX"]) {
        return at.identifier().map(ConstraintKind::ByIndex);
    }
    let columns = at.columns()?;
    index_parameters(at)?;
    Some(kind(columns))
}

/// From behind `ALTER TABLE`, or `ALTER VIEW` and the like.
pub(super) fn alter_table(mut at: Cursor<'_>, relation: Relation) -> Option<Act> {
    at.if_exists();
    at.take(&["ONLY"]);
    let table = at.name()?;
    at.take_token(&Token::Mul);
    let actions = split(at.rest()).into_iter().map(|part| {
        let mut at = Cursor::new(part);
        action(&mut at).filter(|_| at.is_at_end())
    });
    let actions = actions.collect::<Option<Vec<_>>>()?;
    (!actions.is_empty()).then_some(Act::AlterTable { relation, table, actions })
}

fn action(at: &mut Cursor<'_>) -> Option<Action> {
    if at.take(&["ADD"]) {
        if let Some(constraint) = table_constraint(at) {
            return Some(Action::AddConstraint(constraint));
        }
        at.take(&["COLUMN"]);
        let if_not_exists = at.if_not_exists();
        return Some(Action::AddColumn { column: column(at)?, if_not_exists });
    }
    if at.take(&["DROP", "CONSTRAINT"]) {
        let if_exists = at.if_exists();
        let name = at.identifier()?;
        at.cascade();
        return Some(Action::DropConstraint { name, if_exists });
    }
    if at.take(&["DROP"]) {
        at.take(&["COLUMN"]);
        let if_exists = at.if_exists();
        let column = at.identifier()?;
        at.cascade();
        return Some(Action::DropColumn { column, if_exists });
    }
    if at.take(&["ALTER", "CONSTRAINT"]) {
        at.identifier()?;
        while deferral(at) {}
        return Some(Action::Other);
    }
    if at.take(&["ALTER"]) {
        at.take(&["COLUMN"]);
        let column = at.identifier()?;
        return alter_column(at, column);
    }
    if at.take(&["VALIDATE", "CONSTRAINT"]) {
        return at.identifier().map(Action::ValidateConstraint);
    }
    if at.take(&["RENAME"]) {
        return rename(at);
    }
    if at.take(&["SET"]) {
        return set(at);
    }
    if at.take(&["RESET"]) {
        at.parenthesized()?;
        return Some(Action::SetStorage);
    }
    if at.take(&["ATTACH", "PARTITION"]) {
        let partition = at.name()?;
        if !at.take(&["DEFAULT"]) {
            at.take(&["FOR", "VALUES"]).then_some(())?;
            at.until(&[]);
        }
        return Some(Action::Attach { partition });
    }
    if at.take(&["DETACH", "PARTITION"]) {
        let partition = at.name()?;
        let concurrently = at.take(&["CONCURRENTLY"]);
        let finalize = at.take(&["FINALIZE"]);
        return Some(Action::Detach { partition, concurrently, finalize });
    }
    if at.take(&["DISABLE", "TRIGGER"]) {
        return at.identifier().map(Action::DisableTrigger);
    }
    // What is disabled here is a rule, or the security of rows.
    let is_on = !at.take(&["DISABLE"]) && !at.take(&["NO", "FORCE"]);
    if at.take(&["ENABLE", "ROW", "LEVEL", "SECURITY"])
        || at.take(&["FORCE", "ROW", "LEVEL", "SECURITY"])
        || at.take(&["ROW", "LEVEL", "SECURITY"])
    {
        return Some(Action::RowSecurity { is_on });
    }
    if at.take(&["ENABLE"]) || at.is("RULE") {
        let _is_said = at.take(&["ALWAYS"]) || at.take(&["REPLICA"]);
        (at.take(&["TRIGGER"]) || at.take(&["RULE"])).then_some(())?;
        at.identifier()?;
        return Some(Action::EnableTrigger);
    }
    if at.take(&["CLUSTER", "ON"]) {
        at.identifier()?;
        return Some(Action::SetStorage);
    }
    if at.take(&["OWNER", "TO"]) {
        at.next()?;
        return Some(Action::Owner);
    }
    if at.take(&["OPTIONS"]) {
        at.parenthesized()?;
        return Some(Action::Other);
    }
    let other: [&[&str]; 5] = [&["INHERIT"], &["NO", "INHERIT"], &["REPLICA", "IDENTITY"], &["OF"], &["NOT", "OF"]];
    if other.iter().any(|words| at.take(words)) {
        at.until(&[]);
        return Some(Action::Other);
    }
    None
}

fn alter_column(at: &mut Cursor<'_>, column: String) -> Option<Action> {
    if at.take(&["TYPE"]) || at.take(&["SET", "DATA", "TYPE"]) {
        let kind = at.kind()?;
        let collates = at.take(&["COLLATE"]);
        if collates {
            at.name()?;
        }
        let using = at.take(&["USING"]).then(|| bare(at.until(&[])));
        return Some(Action::SetType { column, kind, collates, using });
    }
    if at.take(&["SET", "NOT", "NULL"]) {
        return Some(Action::SetNotNull(column));
    }
    if at.take(&["DROP", "NOT", "NULL"]) {
        return Some(Action::DropNotNull(column));
    }
    let mut ahead = *at;
    let sets = ahead.take(&["SET"]) || ahead.take(&["RESET"]);
    if sets && (ahead.parenthesized().is_some() || ahead.take(&["STATISTICS"])) {
        ahead.until(&[]);
        *at = ahead;
        return Some(Action::SetStorage);
    }
    if at.take(&["DROP", "DEFAULT"]) {
        return Some(Action::DropDefault(column));
    }
    let said: [&[&str]; 8] = [
        &["DROP", "IDENTITY"],
        &["DROP", "EXPRESSION"],
        &["ADD", "GENERATED"],
        &["SET", "DEFAULT"],
        &["SET", "STORAGE"],
        &["SET", "COMPRESSION"],
        &["SET", "GENERATED"],
        &["RESTART"],
    ];
    if said.iter().any(|words| at.take(words)) {
        at.until(&[]);
        return Some(Action::SetColumn);
    }
    None
}

/// From behind `RENAME`.
fn rename(at: &mut Cursor<'_>) -> Option<Action> {
    if at.take(&["TO"]) {
        return at.identifier().map(Action::Rename);
    }
    let is_constraint = at.take(&["CONSTRAINT"]);
    at.take(&["COLUMN"]);
    let from = at.identifier()?;
    at.take(&["TO"]).then_some(())?;
    let to = at.identifier()?;
    Some(if is_constraint { Action::RenameConstraint { from, to } } else { Action::RenameColumn { from, to } })
}

/// From behind `SET`.
fn set(at: &mut Cursor<'_>) -> Option<Action> {
    if at.take(&["SCHEMA"]) {
        return at.identifier().map(Action::SetSchema);
    }
    if at.take(&["TABLESPACE"]) || at.take(&["ACCESS", "METHOD"]) {
        at.identifier()?;
        at.take(&["NOWAIT"]);
        return Some(Action::Rewrite);
    }
    if at.take(&["LOGGED"]) || at.take(&["UNLOGGED"]) {
        return Some(Action::Rewrite);
    }
    if at.take(&["WITHOUT"]) {
        at.next()?;
        return Some(Action::SetStorage);
    }
    at.parenthesized().map(|_| Action::SetStorage)
}

fn nulls(at: &mut Cursor<'_>) {
    let _is_said = at.take(&["NULLS", "NOT", "DISTINCT"]) || at.take(&["NULLS", "DISTINCT"]);
}
