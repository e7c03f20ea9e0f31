//! The parser, the second step of an expression: from tokens to a tree, with CEL's grammar and precedence.
//!
//! Depth and size are limited during parsing, so no text can exhaust the stack. Unsupported CEL operators (arithmetic, `?:`,
//! indexing, maps) are refused by name.

use serde_json::Value;

use super::error::{ExprError, MAX_DEPTH, MAX_TERMS};
use super::lex::{Token, Word, tokens};
use super::number;
use super::tree::Op;

/// A node and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Its column, counted from 1.
    pub column: usize,
    /// The node.
    pub kind: NodeKind,
}

/// A kind of node, before types are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    Literal(Value),
    Name(String),
    Select(Box<Node>, String),
    Call { target: Option<Box<Node>>, function: String, arguments: Vec<Node> },
    List(Vec<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Compare(Box<Node>, Op, Box<Node>),
    In(Box<Node>, Box<Node>),
}

/// Parses a whole expression.
pub(super) fn parse(source: &str) -> Result<Node, ExprError> {
    let mut parser = Parser { tokens: tokens(source)?, position: 0, depth: 0, terms: 0 };
    let node = parser.either()?;
    match &parser.peek().word {
        Word::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
    terms: usize,
}

const END: Token = Token { column: 1, word: Word::End };

impl Parser {
    fn either(&mut self) -> Result<Node, ExprError> {
        self.chain("||", Self::both, NodeKind::Or)
    }

    fn both(&mut self) -> Result<Node, ExprError> {
        self.chain("&&", Self::relation, NodeKind::And)
    }

    fn chain(
        &mut self,
        operator: &'static str,
        part: fn(&mut Self) -> Result<Node, ExprError>,
        join: fn(Vec<Node>) -> NodeKind,
    ) -> Result<Node, ExprError> {
        let first = part(self)?;
        if !self.is_next(operator) {
            return Ok(first);
        }
        let column = first.column;
        let mut parts = vec![first];
        while self.accept(operator) {
            parts.push(part(self)?);
        }
        Ok(Node { column, kind: join(parts) })
    }

    fn relation(&mut self) -> Result<Node, ExprError> {
        let left = self.unary()?;
        let column = left.column;
        let Some(relation) = self.accept_relation() else { return Ok(left) };
        let right = self.unary()?;
        if self.accept_relation().is_some() {
            return Err(ExprError::at(column, "Comparisons cannot be chained. Join them with &&."));
        }
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = match relation {
            Some(op) => NodeKind::Compare(left, op, right),
            None => NodeKind::In(left, right),
        };
        Ok(Node { column, kind })
    }

    /// `Some(Some(op))` for a comparison, `Some(None)` for `in`, `None` for anything else.
    fn accept_relation(&mut self) -> Option<Option<Op>> {
        let relation = match &self.peek().word {
            Word::Symbol("==") => Some(Op::Eq),
            Word::Symbol("!=") => Some(Op::Ne),
            Word::Symbol("<") => Some(Op::Lt),
            Word::Symbol("<=") => Some(Op::Le),
            Word::Symbol(">") => Some(Op::Gt),
            Word::Symbol(">=") => Some(Op::Ge),
            Word::Name(name) if name == "in" => None,
            _ => return None,
        };
        self.advance();
        Some(relation)
    }

    fn unary(&mut self) -> Result<Node, ExprError> {
        let column = self.peek().column;
        if self.accept("!") {
            let inner = self.nested(Self::unary)?;
            return Ok(Node { column, kind: NodeKind::Not(Box::new(inner)) });
        }
        if self.accept("-") {
            return self.negative(column);
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    fn negative(&mut self, column: usize) -> Result<Node, ExprError> {
        let Token { word: Word::Number(number), .. } = self.advance() else {
            return Err(ExprError::at(column, "`-` is allowed only before a number. Arithmetic is not supported."));
        };
        self.count_term(column)?;
        let negative =
            number::exact(&format!("-{number}")).map_err(|reason| ExprError::at(column, reason.message()))?;
        Ok(Node { column, kind: NodeKind::Literal(Value::Number(negative)) })
    }

    fn primary(&mut self) -> Result<Node, ExprError> {
        let token = self.advance();
        let column = token.column;
        let kind = match token.word {
            Word::Symbol("(") => {
                let inner = self.nested(Self::either)?;
                self.expect(")")?;
                return Ok(inner);
            }
            Word::Symbol("[") => NodeKind::List(self.nested(|parser| parser.list("]"))?),
            Word::Text(text) => NodeKind::Literal(Value::String(text)),
            Word::Number(number) => NodeKind::Literal(Value::Number(number)),
            Word::Name(name) => self.name(name, column)?,
            word => return Err(ExprError::at(column, format!("A value was expected here, not {}.", word.shown()))),
        };
        self.count_term(column)?;
        Ok(Node { column, kind })
    }

    fn name(&mut self, name: String, column: usize) -> Result<NodeKind, ExprError> {
        match name.as_str() {
            "true" => Ok(NodeKind::Literal(Value::Bool(true))),
            "false" => Ok(NodeKind::Literal(Value::Bool(false))),
            "null" => Ok(NodeKind::Literal(Value::Null)),
            "in" => Err(ExprError::at(column, "A value was expected here, not `in`.")),
            _ if self.accept("(") => {
                let arguments = self.nested(|parser| parser.list(")"))?;
                Ok(NodeKind::Call { target: None, function: name, arguments })
            }
            _ => Ok(NodeKind::Name(name)),
        }
    }

    /// `.field` and `.function(...)` after a value. Deep chains have no meaning, so they count as depth.
    fn members(&mut self, first: Node) -> Result<Node, ExprError> {
        let mut node = first;
        let mut length = 0;
        while self.accept(".") {
            length += 1;
            let token = self.advance();
            let Word::Name(name) = token.word else {
                return Err(ExprError::at(token.column, "A field name was expected after `.`."));
            };
            if length > MAX_DEPTH {
                return Err(too_deep(token.column));
            }
            let column = node.column;
            let kind = if self.accept("(") {
                let arguments = self.nested(|parser| parser.list(")"))?;
                NodeKind::Call { target: Some(Box::new(node)), function: name, arguments }
            } else {
                NodeKind::Select(Box::new(node), name)
            };
            node = Node { column, kind };
        }
        Ok(node)
    }

    fn list(&mut self, close: &'static str) -> Result<Vec<Node>, ExprError> {
        let mut items = Vec::new();
        if self.accept(close) {
            return Ok(items);
        }
        loop {
            items.push(self.either()?);
            if !self.accept(",") {
                self.expect(close)?;
                return Ok(items);
            }
        }
    }

    fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T, ExprError>) -> Result<T, ExprError> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep(self.peek().column));
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    fn count_term(&mut self, column: usize) -> Result<(), ExprError> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(ExprError::at(
                column,
                format!("An expression has at most {MAX_TERMS} names and literals. Shorten it."),
            ));
        }
        Ok(())
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.position).or(self.tokens.last()).unwrap_or(&END)
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn is_next(&self, symbol: &'static str) -> bool {
        self.peek().word == Word::Symbol(symbol)
    }

    fn accept(&mut self, symbol: &'static str) -> bool {
        let found = self.is_next(symbol);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), ExprError> {
        if self.accept(symbol) {
            return Ok(());
        }
        match &self.peek().word {
            Word::End => Err(ExprError::at(self.peek().column, format!("`{symbol}` is missing."))),
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> ExprError {
        let Token { column, word } = self.peek();
        let message = match word {
            Word::Symbol("+" | "-" | "*" | "/" | "%") => "Arithmetic is not supported.".to_owned(),
            Word::Symbol("?" | ":") => "`? :` is not supported. Use && and ||.".to_owned(),
            Word::Symbol("[") => "Indexing is not supported.".to_owned(),
            Word::Symbol("{") => "Maps are not supported.".to_owned(),
            Word::Symbol("=") => "`=` is not an operator. Write ==.".to_owned(),
            Word::Symbol("&") => "`&` is not an operator. Write &&.".to_owned(),
            word => format!("An operator was expected here, not {}.", word.shown()),
        };
        ExprError::at(*column, message)
    }
}

fn too_deep(column: usize) -> ExprError {
    ExprError::at(column, format!("An expression nests at most {MAX_DEPTH} levels deep. Flatten it."))
}
