//! Reads `DO` blocks: the statements in them, whatever stands around.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{
    act::Act,
    cursor::{Cursor, text},
    read::act,
    statement::tokens_of,
};

/// What begins a statement of SQL, or one that runs SQL.
const VERBS: &[&str] = &[
    "ALTER", "CALL", "CLUSTER", "COMMENT", "COPY", "CREATE", "DELETE", "DROP", "GRANT", "INSERT", "LOCK", "MERGE",
    "REFRESH", "REINDEX", "RESET", "REVOKE", "SET", "TRUNCATE", "UPDATE", "VACUUM", "WITH",
];

/// From behind `DO`.
pub(super) fn read(mut at: Cursor<'_>) -> Option<Act> {
    let mut body = None;
    while let Some(token) = at.peek() {
        if at.take(&["LANGUAGE"]) {
            let language = at.identifier().or_else(|| at.text())?;
            if language != "plpgsql" {
                return Some(Act::Unreadable(format!("it is written in {language}")));
            }
            continue;
        }
        body = Some(text(token)?);
        at.next();
    }
    let tokens = match tokens_of(&body?) {
        Ok(tokens) => tokens,
        Err(broken) => return Some(Act::Wrong(broken.message)),
    };
    let tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let pieces = tokens.split(|token| token.token == Token::SemiColon);
    Some(Act::Block(pieces.filter_map(|piece| statement(Cursor::new(piece))).collect()))
}

/// The statement of SQL in a piece of a block, behind what decides whether it runs.
fn statement(mut at: Cursor<'_>) -> Option<Act> {
    loop {
        if at.take(&["BEGIN"]) || at.take(&["ELSE"]) || at.take(&["LOOP"]) || at.take(&["EXCEPTION"]) {
            continue;
        }
        if at.is("IF") || at.is("ELSIF") || at.is("ELSEIF") || at.is("WHEN") || at.is("CASE") {
            at.until(&["THEN"]);
            at.next();
            continue;
        }
        if at.is("FOR") || at.is("FOREACH") || at.is("WHILE") {
            at.until(&["LOOP"]);
            at.next();
            continue;
        }
        if at.is("DECLARE") {
            at.until(&["BEGIN"]);
            if at.is_at_end() {
                return None;
            }
            continue;
        }
        break;
    }
    if at.take(&["EXECUTE"]) {
        return Some(executed(at));
    }
    VERBS.iter().any(|verb| at.is(verb)).then(|| act(at.rest(), false)).or_else(|| {
        // What only looks is told from what only thinks by its verb.
        (at.is("SELECT") || at.is("PERFORM")).then_some(Act::Query)
    })
}

/// A text that is run as SQL; understood if it is nothing but a text.
fn executed(mut at: Cursor<'_>) -> Act {
    let Some(sql) = at.text() else { return Act::Dynamic };
    if !at.is_at_end() && !at.is("USING") && !at.is("INTO") {
        return Act::Dynamic;
    }
    match super::statement::split(&sql) {
        Ok(pieces) => Act::Block(pieces.statements.iter().map(|statement| act(&statement.tokens, true)).collect()),
        Err(broken) => Act::Wrong(broken.message),
    }
}
