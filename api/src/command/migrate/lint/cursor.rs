//! Walks along the tokens of a statement.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{
    act::{Name, Type},
    statement::is,
};

/// What is left of a statement, or of a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [TokenWithSpan],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [TokenWithSpan]) -> Self {
        Self { rest: tokens }
    }

    pub(super) fn rest(&self) -> &'a [TokenWithSpan] {
        self.rest
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.rest.first().map(|token| &token.token)
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(&first.token)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if is(found, word))
    }

    /// Whether the next words are these; then they are taken.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let mut ahead = *self;
        for word in words {
            if !ahead.is(word) {
                return false;
            }
            ahead.next();
        }
        *self = ahead;
        true
    }

    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn if_exists(&mut self) -> bool {
        self.take(&["IF", "EXISTS"])
    }

    pub(super) fn if_not_exists(&mut self) -> bool {
        self.take(&["IF", "NOT", "EXISTS"])
    }

    /// `CASCADE` or `RESTRICT`, if it stands there; whether it is the first.
    pub(super) fn cascade(&mut self) -> bool {
        let cascades = self.take(&["CASCADE"]);
        self.take(&["RESTRICT"]);
        cascades
    }

    /// A name without dots, folded.
    pub(super) fn identifier(&mut self) -> Option<String> {
        match self.peek()? {
            Token::Word(word) => {
                self.next();
                Some(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
            }
            _ => None,
        }
    }

    pub(super) fn name(&mut self) -> Option<Name> {
        let mut parts = vec![self.identifier()?];
        while self.take_token(&Token::Period) {
            parts.push(self.identifier()?);
        }
        let name = parts.pop()?;
        Some(Name { schema: parts.pop().filter(|schema| schema != "public"), name })
    }

    pub(super) fn names(&mut self) -> Option<Vec<Name>> {
        let mut names = vec![self.name()?];
        while self.take_token(&Token::Comma) {
            names.push(self.name()?);
        }
        Some(names)
    }

    /// What is in the parentheses that begin here.
    pub(super) fn parenthesized(&mut self) -> Option<&'a [TokenWithSpan]> {
        if self.peek() != Some(&Token::LParen) {
            return None;
        }
        let mut depth = 0_u32;
        for (at, token) in self.rest.iter().enumerate() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inner = &self.rest[1..at];
                self.rest = &self.rest[at + 1..];
                return Some(inner);
            }
        }
        None
    }

    /// The columns in the parentheses that begin here.
    pub(super) fn columns(&mut self) -> Option<Vec<String>> {
        split(self.parenthesized()?).into_iter().map(|part| Cursor::new(part).identifier()).collect()
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let text = text(self.peek()?)?;
        self.next();
        Some(text)
    }

    /// Walks on until one of the words stands there, outside any parentheses, or until the end.
    pub(super) fn until(&mut self, words: &[&str]) -> &'a [TokenWithSpan] {
        let start = self.rest;
        let mut depth = 0_i32;
        while let Some(token) = self.peek() {
            match token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth -= 1,
                Token::Word(word) if depth == 0 && words.iter().any(|expected| is(word, expected)) => break,
                _ => {}
            }
            self.next();
        }
        &start[..start.len() - self.rest.len()]
    }

    /// A type, in any of its spellings.
    pub(super) fn kind(&mut self) -> Option<Type> {
        self.take(&["SETOF"]);
        let mut name = self.name()?;
        if name.schema.as_deref() == Some("pg_catalog") {
            name.schema = None;
        }
        let varying = matches!(name.name.as_str(), "character" | "char" | "bit" | "nchar") && self.take(&["VARYING"]);
        if name.name == "double" {
            self.take(&["PRECISION"]);
        }
        if name.name == "interval" {
            while ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "TO"].iter().any(|word| self.take(&[word])) {}
        }
        let mut arguments: Vec<String> = Vec::new();
        if let Some(inner) = self.parenthesized() {
            arguments
                .extend(split(inner).iter().map(|part| part.iter().map(|token| token.token.to_string()).collect()));
        }
        let zoned = matches!(name.name.as_str(), "timestamp" | "time") && self.take(&["WITH", "TIME", "ZONE"]);
        if !zoned {
            self.take(&["WITHOUT", "TIME", "ZONE"]);
        }
        let mut is_array = self.take(&["ARRAY"]);
        while self.take_token(&Token::LBracket) {
            is_array = true;
            while !self.take_token(&Token::RBracket) {
                self.next()?;
            }
        }
        let canonical = match name.name.as_str() {
            "int" | "int4" => "integer",
            "int8" => "bigint",
            "int2" => "smallint",
            "serial4" => "serial",
            "serial8" => "bigserial",
            "serial2" => "smallserial",
            "decimal" | "dec" => "numeric",
            "bool" => "boolean",
            "float8" | "float" | "double" => "double precision",
            "float4" => "real",
            "char" | "character" | "nchar" if varying => "varchar",
            "character" | "nchar" => "char",
            "bpchar" if !arguments.is_empty() => "char",
            "bit" if varying => "varbit",
            "timestamp" if zoned => "timestamptz",
            "time" if zoned => "timetz",
            _ => return Some(Type { name: name.to_string(), arguments, is_array }),
        };
        Some(Type { name: canonical.to_owned(), arguments, is_array })
    }
}

/// A text, however it is quoted.
pub(super) fn text(token: &Token) -> Option<String> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::NationalStringLiteral(text) => Some(text.clone()),
        Token::DollarQuotedString(text) => Some(text.value.clone()),
        _ => None,
    }
}

/// The parts between commas, outside any parentheses.
pub(super) fn split(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut depth = 0_i32;
    let parts = tokens.split(move |token| {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth -= 1,
            _ => {}
        }
        depth == 0 && token.token == Token::Comma
    });
    parts.filter(|part| !part.is_empty()).collect()
}

pub(super) fn bare(tokens: &[TokenWithSpan]) -> Vec<Token> {
    tokens.iter().map(|token| token.token.clone()).collect()
}
