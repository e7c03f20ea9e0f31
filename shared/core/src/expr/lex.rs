//! The lexer, the first step of an expression: from text to tokens, each with its column.

use serde_json::Number;

use super::error::{ExprError, MAX_CHARS};
use super::number::{self, Inexact};

/// A token and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// Its column, counted from 1.
    pub column: usize,
    /// The token.
    pub word: Word,
}

/// A kind of token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A name, keywords included.
    Name(String),
    /// A text literal, unescaped.
    Text(String),
    /// A number literal. A minus sign is a separate symbol.
    Number(Number),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

impl Word {
    /// The token as error messages show it.
    pub fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::Number(number) => format!("`{number}`"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer symbols first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ",", ".", "-", "+", "*", "/", "%", "?", ":",
    "{", "}", "=", "&",
];

/// Splits an expression into tokens. The last is [`Word::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, ExprError> {
    if source.chars().count() > MAX_CHARS {
        return Err(ExprError::at(
            MAX_CHARS + 1,
            format!("An expression has at most {MAX_CHARS} characters. Shorten it."),
        ));
    }
    let mut lexer = Lexer { rest: source, column: 1 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let done = token.word == Word::End;
        tokens.push(token);
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Token, ExprError> {
        self.take_while(|char| matches!(char, ' ' | '\t' | '\n' | '\r'));
        let column = self.column;
        let word = match self.rest.chars().next() {
            None => Word::End,
            Some('a'..='z' | 'A'..='Z' | '_') => {
                Word::Name(self.take_while(|char| char.is_ascii_alphanumeric() || char == '_'))
            }
            Some('0'..='9') => self.number()?,
            Some(quote @ ('\'' | '"')) => self.text(quote)?,
            Some(other) => self.symbol(other)?,
        };
        Ok(Token { column, word })
    }

    fn symbol(&mut self, first: char) -> Result<Word, ExprError> {
        let symbol = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol));
        let symbol = symbol.ok_or_else(|| {
            let reason = match first.is_alphabetic() {
                true => {
                    format!("`{first}` is not allowed in a name. Names have a-z, A-Z, 0-9 and _. Write text in quotes.")
                }
                false => format!("`{}` is not allowed here.", first.escape_default()),
            };
            ExprError::at(self.column, reason)
        })?;
        self.take(symbol.len());
        Ok(Word::Symbol(symbol))
    }

    fn number(&mut self) -> Result<Word, ExprError> {
        let column = self.column;
        let mut text = self.take_while(|char| char.is_ascii_digit());
        if self.rest.starts_with('.') {
            text.push_str(&self.take(1));
            text.push_str(&self.take_while(|char| char.is_ascii_digit()));
        }
        if self.rest.starts_with(['e', 'E']) {
            text.push_str(&self.take(1));
            if self.rest.starts_with(['+', '-']) {
                text.push_str(&self.take(1));
            }
            text.push_str(&self.take_while(|char| char.is_ascii_digit()));
        }
        if self.rest.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '_') {
            return Err(ExprError::at(column, "Write a number in decimal digits, like 5 or 1.5."));
        }
        exact_number(&text).map(Word::Number).map_err(|message| ExprError::at(column, message))
    }

    fn text(&mut self, quote: char) -> Result<Word, ExprError> {
        let start = self.column;
        self.take(1);
        let mut text = String::new();
        loop {
            let column = self.column;
            match self.rest.chars().next() {
                None | Some('\n' | '\r') => {
                    return Err(ExprError::at(start, "The closing quote of this text is missing."));
                }
                Some(char) if char == quote => {
                    self.take(1);
                    return Ok(Word::Text(text));
                }
                Some('\\') => text.push(self.escape(column)?),
                Some(char) => text.push_str(&self.take(char.len_utf8())),
            }
        }
    }

    fn escape(&mut self, column: usize) -> Result<char, ExprError> {
        self.take(1);
        let kind = self.rest.chars().next();
        self.take(kind.map_or(0, char::len_utf8));
        match kind {
            Some(same @ ('\\' | '\'' | '"' | '`' | '?')) => Ok(same),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => self.code_point(4, column),
            Some('U') => self.code_point(8, column),
            _ => Err(ExprError::at(
                column,
                "This escape is unknown. Use \\\\ \\' \\\" \\n \\r \\t \\uXXXX or \\UXXXXXXXX",
            )),
        }
    }

    fn code_point(&mut self, digits: usize, column: usize) -> Result<char, ExprError> {
        let bad = || {
            ExprError::at(
                column,
                format!("\\{} needs {digits} hex digits of a character.", if digits == 4 { 'u' } else { 'U' }),
            )
        };
        let hex =
            self.rest.get(..digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())).ok_or_else(bad)?;
        let char = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).ok_or_else(bad)?;
        self.take(digits);
        Ok(char)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|char| !wanted(char)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// Consumes `bytes` bytes, which end at a character boundary.
    fn take(&mut self, bytes: usize) -> String {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.column += taken.chars().count();
        self.rest = rest;
        taken.to_owned()
    }
}

/// A number with every digit it was written with, or an error.
fn exact_number(text: &str) -> Result<Number, &'static str> {
    let complete = text.parse::<f64>().is_ok()
        && text.split('.').nth(1).is_none_or(|fraction| fraction.starts_with(|char: char| char.is_ascii_digit()));
    if !complete {
        return Err("This number is incomplete.");
    }
    number::exact(text).map_err(Inexact::message)
}
