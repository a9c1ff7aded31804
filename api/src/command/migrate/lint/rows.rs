//! Reads what statements change in rows, and whether that is few of them.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{
    act::{Act, Change},
    cursor::{Cursor, split},
    read::words,
    statement::is,
};

/// What a statement that begins with `WITH` changes: in one of its parts, or at its end.
pub(super) fn with(start: &[TokenWithSpan]) -> Option<Act> {
    let verbs = ["UPDATE", "DELETE", "MERGE", "INSERT"];
    let is_verb = |at: usize| {
        let begins = at == 0 || matches!(start[at - 1].token, Token::LParen | Token::RParen);
        begins && verbs.iter().any(|verb| Cursor::new(&start[at..]).is(verb))
    };
    let changes = (0..start.len()).filter(|at| is_verb(*at)).filter_map(|at| rows(Cursor::new(&start[at..]), start));
    let changes: Vec<Act> = changes.collect();
    let change = changes.iter().find(|act| matches!(act, Act::Change(_))).or(changes.first());
    change.cloned()
}

/// What changes rows; `whole` is the statement that it is a part of.
pub(super) fn rows(mut at: Cursor<'_>, whole: &[TokenWithSpan]) -> Option<Act> {
    if at.take(&["INSERT", "INTO"]) {
        let table = at.name()?;
        if at.take(&["AS"]) {
            at.identifier()?;
        }
        let mut ahead = at;
        let columns =
            if ahead.columns().is_some() && !at.is("SELECT") { at.columns().unwrap_or_default() } else { Vec::new() };
        at.until(&["CONFLICT"]);
        return Some(Act::Insert { table, columns, is_repeatable: at.is("CONFLICT") });
    }
    let verb = ["UPDATE", "DELETE", "MERGE"].into_iter().find(|verb| at.take(&[verb]))?;
    let _is_said = at.take(&["FROM"]) || at.take(&["INTO"]);
    at.take(&["ONLY"]);
    let table = at.name()?;
    at.until(&["SET", "WHERE", "USING"]);
    let mut sets = Vec::new();
    let mut assignments = String::new();
    if at.take(&["SET"]) {
        let said = at.until(&["WHERE", "FROM", "RETURNING"]);
        assignments = words(said);
        for part in split(said) {
            let mut part = Cursor::new(part);
            match part.columns() {
                Some(columns) => sets.extend(columns),
                None => sets.extend(part.identifier()),
            }
        }
    }
    at.until(&["WHERE"]);
    let is_bounded = verb != "MERGE" && is_bounded(at, whole);
    let fills = verb == "UPDATE" && fills(at, &sets);
    Some(Act::Change(Change { verb, table, is_bounded, sets, fills, assignments }))
}

/// Whether the condition that begins here says of each of these columns that it is null.
fn fills(mut at: Cursor<'_>, sets: &[String]) -> bool {
    let mut nulls = Vec::new();
    if at.take(&["WHERE"]) {
        let mut rest = Cursor::new(at.until(&["RETURNING"]));
        if has_word(rest.rest(), "OR") {
            return false;
        }
        while !rest.is_at_end() {
            let mut term = Cursor::new(rest.until(&["AND"]));
            rest.next();
            while let Some(inner) = term.parenthesized() {
                term = Cursor::new(inner);
            }
            let column = term.name();
            if term.take(&["IS", "NULL"]) && term.is_at_end() {
                nulls.extend(column.map(|column| column.name));
            }
        }
    }
    !sets.is_empty() && sets.iter().all(|column| nulls.contains(column))
}

/// Whether a condition, or a `WITH` before it, keeps a change to few rows.
fn is_bounded(mut at: Cursor<'_>, whole: &[TokenWithSpan]) -> bool {
    if Cursor::new(whole).is("WITH") {
        let mut parts = Cursor::new(whole);
        let before = parts.until(&["UPDATE", "DELETE"]);
        if has_word(before, "LIMIT") {
            return true;
        }
    }
    if !at.take(&["WHERE"]) {
        return false;
    }
    let condition = at.until(&["RETURNING"]);
    if has_word(condition, "LIMIT") {
        return true;
    }
    let mut rest = Cursor::new(condition);
    let (mut has_floor, mut has_ceiling) = (false, false);
    while !rest.is_at_end() {
        let mut term = Cursor::new(rest.until(&["AND"]));
        rest.next();
        // With an OR, any row may be meant.
        if has_word(term.rest(), "OR") {
            return false;
        }
        let Some(name) = term.name() else { continue };
        if !is_key(&name.name) {
            continue;
        }
        match term.peek() {
            Some(Token::Eq) => {
                term.next();
                let value = term.rest();
                let is_column = matches!(term.peek(), Some(Token::Word(word)) if !is(word, "ANY")) && value.len() > 1;
                return !is_column
                    && !value.iter().any(|token| matches!(&token.token, Token::Word(word) if is(word, "SELECT")));
            }
            Some(Token::Gt | Token::GtEq) => has_floor = true,
            Some(Token::Lt | Token::LtEq) => has_ceiling = true,
            // Its `AND` is not one between conditions.
            _ if term.take(&["BETWEEN"]) => return true,
            _ if term.take(&["IN"]) => {
                let list = term.parenthesized().unwrap_or_default();
                return !Cursor::new(list).is("SELECT");
            }
            _ => {}
        }
    }
    has_floor && has_ceiling
}

fn has_word(tokens: &[TokenWithSpan], word: &str) -> bool {
    tokens.iter().any(|token| matches!(&token.token, Token::Word(found) if is(found, word)))
}

/// Whether a column is called like one that tells a row from all others.
fn is_key(name: &str) -> bool {
    matches!(name, "id" | "uuid" | "key" | "ctid")
}
