//! Takes SQL apart into statements, with where each begins and what its comments allow.

use sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace, Word},
};

/// One statement of a migration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    /// As it was written, without what surrounds it.
    pub(crate) sql: String,
    /// The line that it begins on.
    pub(crate) line: u64,
    /// What it is made of, without white space.
    pub(crate) tokens: Vec<TokenWithSpan>,
    /// Whether it is sent to the database together with others, which run in one transaction then.
    pub(crate) is_sent_with_others: bool,
    /// Whether it is run for one batch of rows after the other, each in a transaction of its own.
    pub(crate) is_batch: bool,
    /// What its comments say about the lint.
    pub(crate) allowed: Vec<Silencer>,
}

/// A comment such as `-- lint: allow M10 because the table is small`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silencer {
    /// The rules that it names; none if it cannot be read.
    pub(crate) rules: Vec<String>,
    /// Whether it says why.
    pub(crate) has_reason: bool,
    /// The line that it is on.
    pub(crate) line: u64,
    /// As it was written.
    pub(crate) comment: String,
}

/// What a piece of SQL is made of.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// Its statements, in their order.
    pub(crate) statements: Vec<Statement>,
    /// What was said behind the last of them.
    pub(crate) left: Vec<Silencer>,
    /// Whether a comment asks for no transaction.
    pub(crate) outside_transaction: bool,
}

/// Why SQL cannot be taken apart, and where.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) message: String,
    pub(crate) line: u64,
}

/// Takes SQL apart. A semicolon ends a statement unless it is in parentheses or in a body of `BEGIN ATOMIC`.
pub(crate) fn split(sql: &str) -> Result<Pieces, Broken> {
    let mut pieces = Pieces::default();
    let mut place = Place::new(sql);
    let (mut tokens, mut allowed) = (Vec::new(), Vec::new());
    let (mut depth, mut blocks, mut is_batch) = (0_u32, 0_u32, false);
    for token in tokens_of(sql)? {
        match &token.token {
            Token::Whitespace(white) => {
                if let Some(comment) = comment(white) {
                    pieces.outside_transaction |= comment.trim() == "no transaction";
                    is_batch |= tokens.is_empty() && comment.trim().starts_with("batch:");
                    allowed.extend(Silencer::read(comment, token.span.start.line));
                }
                continue;
            }
            Token::SemiColon if depth == 0 && blocks == 0 => {
                let is_batch = std::mem::take(&mut is_batch);
                pieces.statements.extend(statement(sql, &mut place, &mut tokens, &mut allowed, is_batch));
                continue;
            }
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if is(word, "ATOMIC") && tokens.last().is_some_and(|last| is_word(last, "BEGIN")) => {
                blocks = 1
            }
            Token::Word(word) if blocks > 0 && is(word, "CASE") => blocks += 1,
            Token::Word(word) if blocks > 0 && is(word, "END") => blocks -= 1,
            _ => {}
        }
        tokens.push(token);
    }
    pieces.statements.extend(statement(sql, &mut place, &mut tokens, &mut allowed, is_batch));
    // Batches have transactions of their own, and so the whole has none.
    pieces.outside_transaction |= pieces.statements.iter().any(|statement| statement.is_batch);
    pieces.left = allowed;
    Ok(pieces)
}

/// What SQL is made of, white space and comments among it.
pub(super) fn tokens_of(sql: &str) -> Result<Vec<TokenWithSpan>, Broken> {
    Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Broken { message: error.message, line: error.location.line })
}

pub(super) fn comment(white: &Whitespace) -> Option<&str> {
    match white {
        Whitespace::SingleLineComment { comment, .. } | Whitespace::MultiLineComment(comment) => Some(comment),
        Whitespace::Space | Whitespace::Newline | Whitespace::Tab => None,
    }
}

/// Whether it is this word, and not a name in quotes.
pub(super) fn is(word: &Word, expected: &str) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected)
}

fn is_word(token: &TokenWithSpan, expected: &str) -> bool {
    matches!(&token.token, Token::Word(word) if is(word, expected))
}

fn statement(
    sql: &str,
    place: &mut Place<'_>,
    tokens: &mut Vec<TokenWithSpan>,
    allowed: &mut Vec<Silencer>,
    is_batch: bool,
) -> Option<Statement> {
    let (first, last) = (tokens.first()?.span, tokens.last()?.span);
    let (start, end) = (place.of(first.start), place.of(last.end));
    Some(Statement {
        sql: sql.get(start..end).unwrap_or_default().to_owned(),
        line: first.start.line,
        tokens: std::mem::take(tokens),
        is_sent_with_others: false,
        is_batch,
        allowed: std::mem::take(allowed),
    })
}

/// Where in the text a line and a column are; asked for in their order, so that the text is walked through once.
struct Place<'a> {
    text: &'a str,
    offset: usize,
    line: u64,
    column: u64,
}

impl<'a> Place<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, offset: 0, line: 1, column: 1 }
    }

    fn of(&mut self, location: Location) -> usize {
        for character in self.text.get(self.offset..).unwrap_or_default().chars() {
            if (self.line, self.column) >= (location.line, location.column) {
                break;
            }
            self.offset += character.len_utf8();
            (self.line, self.column) =
                if character == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        }
        self.offset
    }
}

impl Silencer {
    /// Reads a comment; none if it has nothing to say to the lint.
    pub(super) fn read(comment: &str, line: u64) -> Option<Self> {
        let said = comment.trim().strip_prefix("lint:")?.trim();
        let (names, reason) = said.split_once(" because ").unwrap_or((said, ""));
        let names = names.strip_prefix("allow").unwrap_or_default();
        let rules = names.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Self { rules, has_reason: !reason.trim().is_empty(), line, comment: comment.trim().to_owned() })
    }
}
