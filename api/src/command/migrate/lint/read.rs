//! Reads what a statement does.
//!
//! What changes a schema is read here, because the grammar that `sqlparser` has for it lacks much of PostgreSQL's
//! (exclusion constraints, partitions, `REINDEX`, blocks, …), and one action that is not known hides all others of its
//! statement. What reads and writes rows is left to that grammar. A statement that neither understands is a finding.

use sqlparser::{
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan},
};

use super::{
    act::{Act, CreateIndex, Relation},
    block,
    cursor::{Cursor, bare, split},
    nature::says_not_null,
    rows::{rows, with},
    statement::{Statement, is},
    table,
};

/// What any statement of PostgreSQL begins with.
const VERBS: &[&str] = &[
    "ABORT",
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "CALL",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DISCARD",
    "DO",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "GRANT",
    "IMPORT",
    "INSERT",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "PREPARE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "TRUNCATE",
    "UNLISTEN",
    "UPDATE",
    "VACUUM",
    "VALUES",
    "WITH",
];

/// What is created, altered, dropped or said without a lock on a table that anybody would wait for.
const HARMLESS: &[&[&str]] = &[
    &["ACCESS", "METHOD"],
    &["AGGREGATE"],
    &["CAST"],
    &["COLLATION"],
    &["CONVERSION"],
    &["DEFAULT", "PRIVILEGES"],
    &["EVENT", "TRIGGER"],
    &["EXTENSION"],
    &["FOREIGN", "DATA", "WRAPPER"],
    &["FUNCTION"],
    &["GROUP"],
    &["LANGUAGE"],
    &["LARGE", "OBJECT"],
    &["OPERATOR"],
    &["PROCEDURE"],
    &["PUBLICATION"],
    &["ROLE"],
    &["ROUTINE"],
    &["SEQUENCE"],
    &["SERVER"],
    &["STATISTICS"],
    &["SUBSCRIPTION"],
    &["TEXT", "SEARCH"],
    &["TRANSFORM"],
    &["TYPE"],
    &["DOMAIN"],
    &["USER"],
];

/// Reads a statement.
pub(super) fn read(statement: &Statement) -> Act {
    act(&statement.tokens, true)
}

/// Reads the tokens of a statement; whether queries are held to the grammar, as those in a block cannot be.
pub(super) fn act(tokens: &[TokenWithSpan], is_strict: bool) -> Act {
    let mut at = Cursor::new(tokens);
    let is_verb = |token: &Token| matches!(token, Token::Word(word) if VERBS.iter().any(|verb| is(word, verb)));
    let Some(first) = at.peek() else { return Act::Quick { is_repeatable: true } };
    if !is_verb(first) && *first != Token::LParen {
        return match first {
            Token::Word(word) => Act::Wrong(format!("no statement begins with {}", word.value)),
            _ => Act::Unreadable(format!("no statement begins with {first}")),
        };
    }
    if let Some(wrong) = unbalanced(tokens) {
        return Act::Wrong(wrong.to_owned());
    }
    let read = match () {
        () if at.take(&["CREATE"]) => create(at),
        () if at.take(&["ALTER"]) => alter(at),
        () if at.take(&["DROP"]) => drop(at),
        () if at.take(&["DO"]) => block::read(at),
        () => plain(at, is_strict),
    };
    read.unwrap_or_else(|| match parse(tokens) {
        // Known to the grammar, and to no rule.
        Ok(()) if !at.is("CREATE") && !at.is("ALTER") && !at.is("DROP") => Act::Query,
        Ok(()) => Act::Unreadable("no rule knows what it does".to_owned()),
        Err(error) => Act::Unreadable(error),
    })
}

fn unbalanced(tokens: &[TokenWithSpan]) -> Option<&'static str> {
    let mut depth = 0_u32;
    for token in tokens {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Some("a closing parenthesis has no opening one"),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    (depth > 0).then_some("a parenthesis is not closed")
}

fn parse(tokens: &[TokenWithSpan]) -> Result<(), String> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens.to_vec());
    parser.parse_statement().map_err(|error| error.to_string())?;
    match parser.peek_token().token {
        Token::EOF => Ok(()),
        left => Err(format!("{left} is left over")),
    }
}

/// What neither creates nor alters nor drops.
fn plain(mut at: Cursor<'_>, is_strict: bool) -> Option<Act> {
    let start = at.rest();
    let quick = Act::Quick { is_repeatable: true };
    if at.take(&["SELECT"]) || at.take(&["VALUES"]) || at.take(&["TABLE"]) || at.peek() == Some(&Token::LParen) {
        if is_strict {
            parse(start).ok()?;
        }
        return Some(configured(at).unwrap_or(Act::Query));
    }
    if at.take(&["WITH"]) {
        if is_strict {
            parse(start).ok()?;
        }
        return Some(with(start).unwrap_or(Act::Query));
    }
    if at.is("INSERT") || at.is("UPDATE") || at.is("DELETE") || at.is("MERGE") {
        if is_strict {
            parse(start).ok()?;
        }
        return rows(at, start);
    }
    if at.take(&["SET"]) {
        return set(at);
    }
    if at.take(&["RESET"]) {
        if at.take(&["ALL"]) {
            return Some(Act::ResetAll);
        }
        let name = if at.take(&["SESSION", "AUTHORIZATION"]) { "role".to_owned() } else { at.name()?.name };
        return at.is_at_end().then_some(Act::Set { name, value: None });
    }
    if ["BEGIN", "COMMIT", "END", "ABORT", "ROLLBACK"].iter().any(|word| at.take(&[word]))
        || at.take(&["START", "TRANSACTION"])
    {
        // Back to a savepoint is no end.
        at.until(&["TO"]);
        return Some(if at.is_at_end() { Act::Transaction } else { quick });
    }
    if at.take(&["TRUNCATE"]) {
        at.take(&["TABLE"]);
        at.take(&["ONLY"]);
        let tables = at.names()?;
        at.take_token(&Token::Mul);
        let _is_said = at.take(&["RESTART", "IDENTITY"]) || at.take(&["CONTINUE", "IDENTITY"]);
        let cascade = at.cascade();
        return at.is_at_end().then_some(Act::Truncate { tables, cascade });
    }
    if at.take(&["LOCK"]) {
        at.take(&["TABLE"]);
        at.take(&["ONLY"]);
        let tables = at.names()?;
        let mode = if at.take(&["IN"]) { words(at.until(&["MODE"])) } else { "ACCESS EXCLUSIVE".to_owned() };
        return Some(Act::Lock { tables, mode });
    }
    if at.take(&["VACUUM"]) {
        let options = at.parenthesized().unwrap_or_default();
        let mut is_full = is_on(options, "FULL");
        while ["FULL", "FREEZE", "VERBOSE", "ANALYZE"].iter().any(|word| {
            is_full |= *word == "FULL" && at.is("FULL");
            at.take(&[word])
        }) {}
        return Some(Act::Vacuum { is_full, table: at.name() });
    }
    if at.take(&["CLUSTER"]) {
        at.parenthesized();
        at.take(&["VERBOSE"]);
        let first = at.name();
        let table = if at.take(&["ON"]) { at.name() } else { first };
        if at.take(&["USING"]) {
            at.name()?;
        }
        return at.is_at_end().then_some(Act::Cluster { table });
    }
    if at.take(&["REINDEX"]) {
        let options = at.parenthesized().unwrap_or_default();
        let what = words(at.rest().get(..1)?).to_uppercase();
        at.next();
        let concurrently = at.take(&["CONCURRENTLY"]) || is_on(options, "CONCURRENTLY");
        let name = at.name()?;
        return at.is_at_end().then_some(Act::Reindex { what, name, concurrently });
    }
    if at.take(&["REFRESH", "MATERIALIZED", "VIEW"]) {
        let concurrently = at.take(&["CONCURRENTLY"]);
        let view = at.name()?;
        let with_data = !at.take(&["WITH", "NO", "DATA"]);
        at.take(&["WITH", "DATA"]);
        return at.is_at_end().then_some(Act::Refresh { view, concurrently, with_data });
    }
    if at.take(&["GRANT"]) || at.take(&["REVOKE"]) {
        return Some(grant(at, start));
    }
    let quiet = [
        "ANALYZE",
        "CALL",
        "CHECKPOINT",
        "COMMENT",
        "COPY",
        "DISCARD",
        "EXPLAIN",
        "LISTEN",
        "NOTIFY",
        "REASSIGN",
        "RELEASE",
        "SAVEPOINT",
        "SECURITY",
        "SHOW",
        "UNLISTEN",
    ];
    if quiet.iter().any(|word| at.take(&[word])) { Some(quick) } else { None }
}

/// A setting that a query changes: `SELECT set_config('…', '…', …)`.
fn configured(mut at: Cursor<'_>) -> Option<Act> {
    let name = at.name()?;
    if name.name != "set_config" {
        return None;
    }
    let mut arguments = split(at.parenthesized()?).into_iter().map(|part| Cursor::new(part).text());
    Some(Act::Set { name: arguments.next()??.to_lowercase(), value: Some(arguments.next()??) })
}

fn set(mut at: Cursor<'_>) -> Option<Act> {
    let _is_said = at.take(&["SESSION"]) || at.take(&["LOCAL"]);
    if at.take(&["TIME", "ZONE"]) {
        return Some(Act::Set { name: "timezone".to_owned(), value: Some(value(at.rest())) });
    }
    if at.take(&["SCHEMA"]) {
        return Some(Act::Set { name: "search_path".to_owned(), value: Some(value(at.rest())) });
    }
    if at.take(&["CONSTRAINTS"])
        || at.take(&["ROLE"])
        || at.take(&["CHARACTERISTICS"])
        || at.take(&["TRANSACTION"])
        || at.take(&["AUTHORIZATION"])
    {
        return Some(Act::Quick { is_repeatable: true });
    }
    let name = at.name()?;
    (at.take(&["TO"]) || at.take_token(&Token::Eq)).then_some(())?;
    let is_default = at.is("DEFAULT");
    Some(Act::Set { name: name.name, value: (!is_default).then(|| value(at.rest())) })
}

fn value(tokens: &[TokenWithSpan]) -> String {
    let texts = tokens.iter().map(|token| super::cursor::text(&token.token).unwrap_or_else(|| token.token.to_string()));
    texts.collect::<Vec<_>>().concat()
}

/// Whether an option is among those in parentheses, and not switched off.
fn is_on(options: &[TokenWithSpan], option: &str) -> bool {
    split(options).into_iter().any(|part| {
        let mut at = Cursor::new(part);
        at.take(&[option]) && !matches!(words(at.rest()).to_lowercase().as_str(), "false" | "off" | "0")
    })
}

/// Tokens as they were written, but for comments and lines.
pub(super) fn words(tokens: &[TokenWithSpan]) -> String {
    let mut words = String::new();
    let mut end = None;
    for token in tokens {
        if end.is_some_and(|end| end != token.span.start) {
            words.push(' ');
        }
        words.push_str(&token.token.to_string());
        end = Some(token.span.end);
    }
    words
}

fn grant(mut at: Cursor<'_>, start: &[TokenWithSpan]) -> Act {
    let is_grant = Cursor::new(start).is("GRANT");
    at.until(&["ON"]);
    let mut tables = Vec::new();
    if at.take(&["ON"]) {
        let other = [
            "SCHEMA",
            "SEQUENCE",
            "FUNCTION",
            "DATABASE",
            "TYPE",
            "DOMAIN",
            "LANGUAGE",
            "PROCEDURE",
            "ROUTINE",
            "FOREIGN",
        ];
        if !at.is("ALL") && !other.iter().any(|word| at.is(word)) {
            at.take(&["TABLE"]);
            tables = at.names().unwrap_or_default();
        }
    }
    at.until(&["TO", "FROM"]);
    let to_public =
        is_grant && at.take(&["TO"]) && split(at.rest()).into_iter().any(|part| Cursor::new(part).is("PUBLIC"));
    if is_grant { Act::Grant { tables, to_public } } else { Act::Quick { is_repeatable: true } }
}

fn relation(at: &mut Cursor<'_>) -> Option<Relation> {
    Some(if at.take(&["TABLE"]) {
        Relation::Table
    } else if at.take(&["VIEW"]) {
        Relation::View
    } else if at.take(&["MATERIALIZED", "VIEW"]) {
        Relation::MaterializedView
    } else if at.take(&["FOREIGN", "TABLE"]) {
        Relation::ForeignTable
    } else {
        return None;
    })
}

/// From behind `CREATE`.
fn create(mut at: Cursor<'_>) -> Option<Act> {
    let replaces = at.take(&["OR", "REPLACE"]);
    let _is_global = at.take(&["GLOBAL"]) || at.take(&["LOCAL"]);
    let is_temporary = at.take(&["TEMPORARY"]) || at.take(&["TEMP"]);
    at.take(&["UNLOGGED"]);
    at.take(&["RECURSIVE"]);
    match relation(&mut at) {
        Some(Relation::Table | Relation::ForeignTable) => return table::create_table(at, is_temporary),
        Some(relation) => {
            at.if_not_exists();
            let name = at.name()?;
            at.until(&["AS"]);
            at.take(&["AS"]).then_some(())?;
            parse(query(at.rest())).ok()?;
            return Some(Act::CreateView { name, is_materialized: relation == Relation::MaterializedView });
        }
        None => {}
    }
    if at.take(&["SEQUENCE"]) {
        at.until(&["AS"]);
        let is_small = at.take(&["AS"]) && at.kind().is_some_and(|kind| kind.name != "bigint");
        return Some(Act::CreateSequence { is_small });
    }
    let is_unique = at.take(&["UNIQUE"]);
    if at.take(&["INDEX"]) {
        return create_index(at, is_unique);
    }
    if at.take(&["SCHEMA"]) {
        at.if_not_exists();
        at.take(&["AUTHORIZATION"]);
        return at.identifier().map(Act::CreateSchema);
    }
    if at.take(&["TYPE"]) {
        let name = at.name()?;
        return Some(if at.take(&["AS", "ENUM"]) {
            Act::CreateEnum(name)
        } else {
            Act::Quick { is_repeatable: false }
        });
    }
    if at.take(&["DOMAIN"]) {
        let name = at.name()?;
        let mut ahead = at;
        ahead.until(&["CHECK", "NOT"]);
        return Some(Act::Domain { name, is_constrained: !ahead.is_at_end() });
    }
    if at.take(&["FUNCTION"]) || at.take(&["PROCEDURE"]) {
        return create_function(at, replaces);
    }
    at.take(&["CONSTRAINT"]);
    if at.take(&["TRIGGER"]) {
        let name = at.identifier()?;
        at.until(&["ON"]);
        at.take(&["ON"]).then_some(())?;
        let table = at.name()?;
        at.until(&["EXECUTE"]);
        at.take(&["EXECUTE"]).then_some(())?;
        at.next()?;
        let function = at.name()?;
        at.parenthesized()?;
        return at.is_at_end().then_some(Act::CreateTrigger { name, table, function, replaces });
    }
    if at.take(&["DATABASE"]) || at.take(&["TABLESPACE"]) {
        return Some(Act::Alone);
    }
    if at.take(&["POLICY"]) || at.take(&["RULE"]) {
        at.until(&["ON", "TO"]);
        let is_rule = at.take(&["ON"]);
        let mut ahead = at;
        // `ON DELETE TO plans`, but `ON users`.
        if ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|event| ahead.take(&[event])) && ahead.take(&["TO"]) {
            at = ahead;
        } else if !is_rule {
            return None;
        }
        return at.name().map(|table| Act::OnTable { table });
    }
    harmless(at, replaces)
}

/// The query of a view, without what may stand behind it.
fn query(tokens: &[TokenWithSpan]) -> &[TokenWithSpan] {
    let ends: [&[&str]; 4] = [
        &["WITH", "DATA"],
        &["WITH", "NO", "DATA"],
        &["WITH", "CHECK", "OPTION"],
        &["WITH", "LOCAL", "CHECK", "OPTION"],
    ];
    for words in ends {
        if let Some(start) = tokens.len().checked_sub(words.len())
            && Cursor::new(&tokens[start..]).take(words)
        {
            return &tokens[..start];
        }
    }
    tokens
}

fn harmless(mut at: Cursor<'_>, replaces: bool) -> Option<Act> {
    let _is_trusted = at.take(&["TRUSTED"]) || at.take(&["PROCEDURAL"]);
    HARMLESS.iter().any(|words| at.take(words)).then_some(())?;
    let is_repeatable = replaces || at.is("IF") || at.is("IN");
    Some(Act::Quick { is_repeatable })
}

fn create_index(mut at: Cursor<'_>, is_unique: bool) -> Option<Act> {
    let concurrently = at.take(&["CONCURRENTLY"]);
    let if_not_exists = at.if_not_exists();
    let name = if at.is("ON") { None } else { Some(at.name()?.name) };
    at.take(&["ON"]).then_some(())?;
    let only = at.take(&["ONLY"]);
    let start = at.rest();
    let table = at.name()?;
    if at.take(&["USING"]) {
        at.identifier()?;
    }
    let columns = split(at.parenthesized()?).into_iter().map(|part| {
        let mut part = Cursor::new(part);
        let name = part.identifier()?;
        (!matches!(part.peek(), Some(Token::LParen | Token::Period))).then_some(name)
    });
    let columns: Vec<Option<String>> = columns.collect();
    let mut is_partial = false;
    while !at.is_at_end() {
        if at.take(&["INCLUDE"]) || at.take(&["WITH"]) {
            at.parenthesized()?;
        } else if at.take(&["TABLESPACE"]) {
            at.identifier()?;
        } else if at.take(&["WHERE"]) {
            // Whoever looks for a value finds all rows that have it in an index of those that have any.
            let condition = bare(at.until(&[]));
            let first = columns.first().and_then(Option::as_deref);
            is_partial = !first.is_some_and(|first| says_not_null(&condition, first));
        } else if !at.take(&["NULLS", "NOT", "DISTINCT"]) && !at.take(&["NULLS", "DISTINCT"]) {
            return None;
        }
    }
    let definition = words(start);
    Some(Act::CreateIndex(CreateIndex {
        name,
        table,
        columns,
        definition,
        is_unique,
        is_partial,
        concurrently,
        if_not_exists,
        only,
    }))
}

fn create_function(mut at: Cursor<'_>, replaces: bool) -> Option<Act> {
    let name = at.name()?;
    at.parenthesized()?;
    let said = at.rest();
    let mut depth = 0_i32;
    let outer = |token: &&TokenWithSpan| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0
    };
    let outer: Vec<TokenWithSpan> = said.iter().filter(outer).cloned().collect();
    let has = |words: &[&str]| (0..outer.len()).any(|at| Cursor::new(&outer[at..]).take(words));
    let is_definer = has(&["SECURITY", "DEFINER"]);
    let has_path = has(&["SET", "search_path"]);
    let text = said.iter().rev().find_map(|token| match &token.token {
        Token::DollarQuotedString(text) => Some(text.value.as_str()),
        _ => None,
    });
    let inner = text.and_then(|text| super::statement::tokens_of(text).ok());
    let body = bare(inner.as_deref().unwrap_or(said));
    Some(Act::CreateFunction { name, is_definer, has_path, replaces, body })
}

/// From behind `ALTER`.
fn alter(mut at: Cursor<'_>) -> Option<Act> {
    if let Some(relation) = relation(&mut at) {
        return table::alter_table(at, relation);
    }
    if at.take(&["SCHEMA"]) || at.take(&["DATABASE"]) {
        let from = at.identifier()?;
        if !at.take(&["RENAME", "TO"]) {
            return Some(Act::Quick { is_repeatable: true });
        }
        return Some(Act::RenameSchema { from, to: at.identifier()? });
    }
    if at.take(&["TYPE"]) {
        return alter_type(at);
    }
    if at.take(&["DOMAIN"]) {
        let name = at.name()?;
        let is_constrained = at.is("ADD") || at.take(&["SET", "NOT", "NULL"]);
        return Some(Act::Domain { name, is_constrained });
    }
    if at.take(&["FUNCTION"]) || at.take(&["PROCEDURE"]) || at.take(&["ROUTINE"]) {
        let name = at.name()?;
        at.parenthesized();
        let mut ahead = at;
        ahead.until(&["DEFINER"]);
        let mut path = at;
        path.until(&["search_path"]);
        let is_definer = !ahead.is_at_end() && path.is_at_end();
        return Some(if is_definer { Act::MakeDefiner(name) } else { Act::Quick { is_repeatable: true } });
    }
    if at.take(&["SYSTEM"]) {
        return Some(Act::Alone);
    }
    if at.take(&["INDEX"]) {
        at.if_exists();
        at.name()?;
        return Some(Act::Quick { is_repeatable: at.is("SET") });
    }
    if at.take(&["TRIGGER"]) || at.take(&["POLICY"]) || at.take(&["RULE"]) {
        at.identifier()?;
        at.take(&["ON"]).then_some(())?;
        return at.name().map(|table| Act::OnTable { table });
    }
    harmless(at, true)
}

fn alter_type(mut at: Cursor<'_>) -> Option<Act> {
    let name = at.name()?;
    if at.take(&["ADD", "VALUE"]) {
        let if_not_exists = at.if_not_exists();
        let value = at.text()?;
        let is_placed = at.take(&["BEFORE"]) || at.take(&["AFTER"]);
        if is_placed {
            at.text()?;
        }
        return at.is_at_end().then_some(Act::AddValue { name, value, is_placed, if_not_exists });
    }
    if at.take(&["RENAME", "VALUE"]) {
        let from = at.text()?;
        at.take(&["TO"]).then_some(())?;
        return Some(Act::RenameValue { name, from, to: at.text()? });
    }
    if at.take(&["RENAME", "ATTRIBUTE"]) {
        return Some(Act::RenameAttribute(name));
    }
    if at.take(&["RENAME", "TO"]) {
        return Some(Act::RenameType(name));
    }
    let known = ["ADD", "DROP", "ALTER", "OWNER", "SET"];
    known.iter().any(|word| at.is(word)).then_some(Act::Quick { is_repeatable: false })
}

/// From behind `DROP`.
fn drop(mut at: Cursor<'_>) -> Option<Act> {
    if let Some(relation) = relation(&mut at) {
        let if_exists = at.if_exists();
        let names = at.names()?;
        at.cascade();
        return at.is_at_end().then_some(Act::DropRelations { relation, names, if_exists });
    }
    if at.take(&["INDEX"]) {
        let concurrently = at.take(&["CONCURRENTLY"]);
        let if_exists = at.if_exists();
        let names = at.names()?;
        at.cascade();
        return at.is_at_end().then_some(Act::DropIndexes { names, concurrently, if_exists });
    }
    if at.take(&["SCHEMA"]) {
        at.if_exists();
        let names = at.names()?.into_iter().map(|name| name.name).collect();
        at.cascade();
        return at.is_at_end().then_some(Act::DropSchemas(names));
    }
    if at.take(&["DATABASE"]) {
        at.if_exists();
        return at.identifier().map(Act::DropDatabase);
    }
    if at.take(&["OWNED", "BY"]) {
        return Some(Act::DropEverything);
    }
    if at.take(&["TRIGGER"]) {
        let if_exists = at.if_exists();
        let name = at.identifier()?;
        at.take(&["ON"]).then_some(())?;
        let table = at.name()?;
        at.cascade();
        return at.is_at_end().then_some(Act::DropTrigger { name, table, if_exists });
    }
    if at.take(&["POLICY"]) || at.take(&["RULE"]) {
        at.if_exists();
        at.identifier()?;
        at.take(&["ON"]).then_some(())?;
        return at.name().map(|table| Act::OnTable { table });
    }
    for what in ["TYPE", "DOMAIN", "EXTENSION"] {
        if at.take(&[what]) {
            let is_repeatable = at.if_exists();
            let mut names = at.names()?;
            let cascades = at.cascade();
            return Some(if cascades {
                Act::DropCascade { what: what.to_owned(), name: names.swap_remove(0) }
            } else {
                Act::Quick { is_repeatable }
            });
        }
    }
    harmless(at, false)
}
