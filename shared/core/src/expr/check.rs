//! Type checking, the third step of an expression: checks it against a collection's field types and pushes every `!` down to
//! a test.

use serde_json::Value;

use super::error::ExprError;
use super::eval::decide;
use super::moment;
use super::parse::{Node, NodeKind};
use super::tree::{AuthField, Expr, Op, Operand, Test, Variable};
use super::types::{FieldType, FieldTypes, Kind, Rule, is_system};

/// Checks a filter. Its fields have no prefix, and hidden fields count as missing.
pub(super) fn filter(node: &Node, fields: &FieldTypes) -> Result<Expr, ExprError> {
    Checker { fields, rule: None }.condition(node, true)
}

/// Checks a rule. Every name has a prefix.
pub(super) fn rule(node: &Node, fields: &FieldTypes, rule: Rule) -> Result<Expr, ExprError> {
    Checker { fields, rule: Some(rule) }.condition(node, true)
}

/// All functions.
const FUNCTIONS: [&str; 3] = ["has", "changed", "startsWith"];

struct Checker<'a> {
    fields: &'a FieldTypes,
    /// The rule being checked. `None` for a filter.
    rule: Option<Rule>,
}

/// An operand and its type. `None` for the literal `null`.
#[derive(Clone)]
struct Typed {
    column: usize,
    operand: Operand,
    kind: Option<Kind>,
    nullable: bool,
    /// Whether it is hidden from callers.
    hidden: bool,
    /// Whether a client sends it or sent the stored value.
    chosen: bool,
}

impl Checker<'_> {
    /// The node's condition, or its negation when `positive` is false.
    fn condition(&self, node: &Node, positive: bool) -> Result<Expr, ExprError> {
        match &node.kind {
            NodeKind::And(parts) => self.join(parts, positive, positive),
            NodeKind::Or(parts) => self.join(parts, positive, !positive),
            NodeKind::Not(inner) => self.condition(inner, !positive),
            NodeKind::Literal(Value::Bool(holds)) => Ok(Expr::constant(*holds == positive)),
            NodeKind::Compare(left, op, right) => self.comparison(left, *op, right).map(|test| settled(test, positive)),
            NodeKind::In(item, list) => self.membership(item, list, positive),
            NodeKind::Call { target, function, arguments } => {
                self.call(node.column, target.as_deref(), function, arguments).map(|test| settled(test, positive))
            }
            NodeKind::Name(_) | NodeKind::Select(..) => self.flag(node, positive),
            NodeKind::Literal(_) | NodeKind::List(_) => {
                Err(ExprError::at(node.column, "A condition was expected, not a value."))
            }
        }
    }

    fn join(&self, parts: &[Node], positive: bool, all: bool) -> Result<Expr, ExprError> {
        let parts = parts.iter().map(|part| self.condition(part, positive)).collect::<Result<Vec<_>, _>>()?;
        Ok(if all { Expr::all(parts) } else { Expr::any(parts) })
    }

    /// A boolean field as a condition.
    fn flag(&self, node: &Node, positive: bool) -> Result<Expr, ExprError> {
        let typed = self.operand(node)?;
        if typed.kind != Some(Kind::Flag) {
            return Err(ExprError::at(
                node.column,
                format!("A condition was expected, and this is {}.", typed.kind_name()),
            ));
        }
        let wanted = Operand::Constant(Value::Bool(positive));
        Ok(Expr::Is(Test::compare(typed.operand, Op::Eq, wanted)))
    }

    fn comparison(&self, left: &Node, op: Op, right: &Node) -> Result<Test, ExprError> {
        let (left, right) = (self.operand(left)?, self.operand(right)?);
        if op.is_order() {
            left.must_have_order(op)?;
            right.must_have_order(op)?;
        }
        let (left, right) = agree(left, right)?;
        must_not_tell(&left, &right, op.is_order())?;
        Ok(Test::compare(left.operand, op, right.operand))
    }

    fn membership(&self, item: &Node, list: &Node, positive: bool) -> Result<Expr, ExprError> {
        let item = self.operand(item)?;
        if let NodeKind::List(elements) = &list.kind {
            return self.one_of(item, elements, positive);
        }
        let list = self.operand(list)?;
        let Some(Kind::List(element)) = &list.kind else {
            return Err(ExprError::at(
                list.column,
                format!("A list was expected after `in`, and this is {}.", list.kind_name()),
            ));
        };
        let element = Typed { kind: Some(*element.clone()), nullable: true, ..list.clone() };
        let (item, element) = agree(item, element)?;
        must_not_tell(&item, &element, false)?;
        Ok(settled(Test::In { item: item.operand, list: list.operand }, positive))
    }

    /// `item in [a, b]`. A list of constants stays one test; any other list becomes comparisons.
    fn one_of(&self, item: Typed, elements: &[Node], positive: bool) -> Result<Expr, ExprError> {
        let mut operands = Vec::new();
        for element in elements {
            let (item, element) = agree(item.clone(), self.operand(element)?)?;
            must_not_tell(&item, &element, false)?;
            operands.push(element.operand);
        }
        let constants: Option<Vec<Value>> = operands.iter().map(|operand| operand.constant().cloned()).collect();
        if let Some(constants) = constants {
            let list = Operand::Constant(Value::Array(constants));
            return Ok(settled(Test::In { item: item.operand, list }, positive));
        }
        let tests = operands.into_iter().map(|right| Test::compare(item.operand.clone(), Op::Eq, right));
        let tests = tests.map(|test| settled(test, positive));
        Ok(if positive { Expr::any(tests) } else { Expr::all(tests) })
    }

    fn call(
        &self,
        column: usize,
        target: Option<&Node>,
        function: &str,
        arguments: &[Node],
    ) -> Result<Test, ExprError> {
        match (target, function, arguments) {
            (None, "has", [argument]) => self.has(argument),
            (None, "changed", [argument]) => self.changed(column, argument),
            (Some(text), "startsWith", [prefix]) => self.starts_with(text, prefix),
            (_, known, _) if FUNCTIONS.contains(&known) => Err(ExprError::at(
                column,
                format!("`{function}` is called wrongly. Write has(f), changed('f') or f.startsWith('x')."),
            )),
            _ => Err(unknown_function(column, function)),
        }
    }

    fn has(&self, argument: &Node) -> Result<Test, ExprError> {
        match self.operand(argument)?.operand {
            Operand::Variable(place @ (Variable::Record(_) | Variable::Input(_))) => Ok(Test::Has(place)),
            _ => Err(ExprError::at(argument.column, "`has` needs a field of a record.")),
        }
    }

    fn changed(&self, column: usize, argument: &Node) -> Result<Test, ExprError> {
        if self.rule != Some(Rule::Update) {
            return Err(ExprError::at(column, "`changed` is available only in update rules."));
        }
        match &argument.kind {
            NodeKind::Literal(Value::String(field)) if is_system(field) => {
                Err(ExprError::at(argument.column, format!("`{field}` is set by the server. Test another field.")))
            }
            NodeKind::Literal(Value::String(field)) => {
                let hidden = self.field(argument.column, field)?.hidden;
                // Whether a guess differs from the stored value would reveal it.
                Ok(if hidden { Test::Sent(field.clone()) } else { Test::Changed(field.clone()) })
            }
            _ => Err(ExprError::at(argument.column, "`changed` needs a field's name in quotes.")),
        }
    }

    fn starts_with(&self, text: &Node, prefix: &Node) -> Result<Test, ExprError> {
        let (text, prefix) = (self.operand(text)?, self.operand(prefix)?);
        for side in [&text, &prefix] {
            if side.kind != Some(Kind::Text) {
                return Err(ExprError::at(
                    side.column,
                    format!("`startsWith` needs text, and this is {}.", side.kind_name()),
                ));
            }
        }
        must_not_tell(&text, &prefix, true)?;
        Ok(Test::StartsWith { text: text.operand, prefix: prefix.operand })
    }

    fn operand(&self, node: &Node) -> Result<Typed, ExprError> {
        let column = node.column;
        match &node.kind {
            NodeKind::Literal(value) => Ok(Typed::literal(column, value.clone())),
            NodeKind::Name(name) if self.rule.is_none() => {
                let field = self.field(column, name)?;
                Ok(Typed::place(column, Variable::Record(name.clone()), field))
            }
            NodeKind::Name(name) => Err(self.lone_name(column, name)),
            NodeKind::Select(owner, name) => self.select(column, owner, name),
            NodeKind::List(_) => Err(ExprError::at(column, "A list is allowed only after `in`.")),
            NodeKind::Call { function, .. } if !FUNCTIONS.contains(&function.as_str()) => {
                Err(unknown_function(column, function))
            }
            _ => Err(ExprError::at(
                column,
                "A value was expected, not a condition. Put the condition in parentheses with its `!`.",
            )),
        }
    }

    fn select(&self, column: usize, owner: &Node, name: &str) -> Result<Typed, ExprError> {
        let NodeKind::Name(owner) = &owner.kind else {
            return Err(ExprError::at(column, "Nested fields are not supported."));
        };
        match (owner.as_str(), self.rule) {
            (_, None) => Err(ExprError::at(column, "A filter names fields without a prefix or a dot.")),
            ("auth", Some(_)) => auth_field(column, name),
            ("request", Some(_)) if name == "time" => {
                Ok(Typed::place(column, Variable::Now, &FieldType::plain(Kind::Moment)))
            }
            ("request", Some(_)) => Err(ExprError::at(column, format!("`request` has no `{name}`. It has `time`."))),
            ("record", Some(rule)) if rule.knows_record() => {
                let field = self.field(column, name)?;
                Ok(Typed::place(column, Variable::Record(name.to_owned()), field))
            }
            ("input", Some(rule)) if rule.knows_input() && !is_system(name) => {
                let field = self.field(column, name)?;
                Ok(Typed::place(column, Variable::Input(name.to_owned()), field))
            }
            ("input", Some(rule)) if rule.knows_input() => {
                Err(ExprError::at(column, format!("`{name}` is set by the server and not a member of `input`.")))
            }
            ("record" | "input", Some(rule)) => {
                Err(ExprError::at(column, format!("`{owner}` is not available in the {} rule.", rule.name())))
            }
            (_, Some(_)) => Err(self.lone_name(column, owner)),
        }
    }

    fn lone_name(&self, column: usize, name: &str) -> ExprError {
        let message = match name {
            "auth" | "record" | "input" | "request" => format!("`{name}` needs a field, like `{name}.id`."),
            _ if self.fields.get(name).is_some() => {
                format!("`{name}` needs a prefix in a rule. Write `record.{name}`.")
            }
            _ => format!("There is no `{name}`. A rule may use auth, record, input and request."),
        };
        ExprError::at(column, message)
    }

    fn field(&self, column: usize, name: &str) -> Result<&FieldType, ExprError> {
        let found = if self.rule.is_some() { self.fields.get(name) } else { self.fields.visible(name) };
        found.ok_or_else(|| ExprError::at(column, format!("There is no field `{name}`.")))
    }
}

fn unknown_function(column: usize, function: &str) -> ExprError {
    ExprError::at(column, format!("The function `{function}` does not exist."))
}

fn auth_field(column: usize, name: &str) -> Result<Typed, ExprError> {
    let (field, kind) = match name {
        "id" => (AuthField::Id, Kind::Text),
        "email" => (AuthField::Email, Kind::Text),
        "verified" => (AuthField::Verified, Kind::Flag),
        "roles" => (AuthField::Roles, Kind::List(Box::new(Kind::Text))),
        _ => {
            return Err(ExprError::at(
                column,
                format!("`auth` has no `{name}`. It has id, email, roles and verified."),
            ));
        }
    };
    Ok(Typed::place(column, Variable::Auth(field), &FieldType::plain(kind)))
}

/// A test as an expression, decided at once if it contains no places.
fn settled(test: Test, positive: bool) -> Expr {
    let constants: Option<Vec<&Value>> = test.operands().into_iter().map(Operand::constant).collect();
    match constants.as_deref() {
        Some([_, ..]) => Expr::constant(decide(&test, |_| None) == Some(positive)),
        _ => Expr::test(test, positive),
    }
}

/// Refuses a comparison of a hidden field with a value that a caller may choose: repeated guesses would reveal the field. A
/// `narrowing` test halves the possible values, so there a chosen account id or address is enough.
fn must_not_tell(left: &Typed, right: &Typed, narrowing: bool) -> Result<(), ExprError> {
    let is_chosen = |side: &Typed| side.chosen || narrowing && side.is_name_of_caller();
    for (hidden, other) in [(left, right), (right, left)] {
        if hidden.hidden && is_chosen(other) {
            return Err(ExprError::at(
                hidden.column,
                "This field is hidden, and comparing it with a value that callers choose lets them guess it. Compare it with a \
                 constant, `request.time` or a readOnly field, or by == or `in` with `auth`. To test whether it is written, \
                 use changed('field').",
            ));
        }
    }
    Ok(())
}

/// Both sides, if they can be compared. A time literal is returned in canonical form.
fn agree(left: Typed, right: Typed) -> Result<(Typed, Typed), ExprError> {
    let (left, right) = (left.as_moment_beside(&right)?, right.as_moment_beside(&left)?);
    for side in [&left, &right] {
        side.must_be_scalar()?;
    }
    match (&left.kind, &right.kind) {
        (None, Some(_)) => right.must_be_nullable(),
        (Some(_), None) => left.must_be_nullable(),
        (Some(a), Some(b)) if a != b => {
            Err(ExprError::at(right.column, format!("Cannot compare {} with {}.", a.name(), b.name())))
        }
        _ => Ok(()),
    }?;
    Ok((left, right))
}

impl Typed {
    fn literal(column: usize, value: Value) -> Self {
        let kind = match &value {
            Value::Bool(_) => Some(Kind::Flag),
            Value::Number(_) => Some(Kind::Number),
            Value::String(_) => Some(Kind::Text),
            _ => None,
        };
        let nullable = kind.is_none();
        Self { column, operand: Operand::Constant(value), kind, nullable, hidden: false, chosen: false }
    }

    fn place(column: usize, place: Variable, field: &FieldType) -> Self {
        let chosen = matches!(place, Variable::Record(_) | Variable::Input(_)) && !field.read_only;
        let (kind, nullable, hidden) = (Some(field.kind.clone()), field.nullable, field.hidden);
        Self { column, operand: Operand::Variable(place), kind, nullable, hidden, chosen }
    }

    /// Whether it is the caller's id or address, which the caller may influence.
    fn is_name_of_caller(&self) -> bool {
        matches!(self.operand, Operand::Variable(Variable::Auth(AuthField::Id | AuthField::Email)))
    }

    fn kind_name(&self) -> &'static str {
        self.kind.as_ref().map_or("null", Kind::name)
    }

    fn must_have_order(&self, op: Op) -> Result<(), ExprError> {
        match &self.kind {
            None | Some(Kind::Flag) => Err(ExprError::at(
                self.column,
                format!("`{}` needs an order, and {} has none.", op.sign(), self.kind_name()),
            )),
            Some(_) => Ok(()),
        }
    }

    fn must_be_scalar(&self) -> Result<(), ExprError> {
        match &self.kind {
            Some(kind) if !kind.is_scalar() => {
                Err(ExprError::at(self.column, format!("This is {} and cannot be compared.", kind.name())))
            }
            _ => Ok(()),
        }
    }

    fn must_be_nullable(&self) -> Result<(), ExprError> {
        if self.nullable {
            return Ok(());
        }
        Err(ExprError::at(self.column, "This is never null. Use `has` to test whether it is present."))
    }

    /// Text compared with a time is parsed as a time.
    fn as_moment_beside(&self, other: &Self) -> Result<Self, ExprError> {
        let Operand::Constant(Value::String(text)) = &self.operand else { return Ok(self.clone()) };
        if other.kind != Some(Kind::Moment) {
            return Ok(self.clone());
        }
        let canonical = moment::canonical(text).ok_or_else(|| {
            ExprError::at(
                self.column,
                "An RFC 3339 time with at most milliseconds was expected, like '2026-03-01T12:00:00Z'.",
            )
        })?;
        Ok(Self { operand: Operand::Constant(Value::String(canonical)), kind: Some(Kind::Moment), ..self.clone() })
    }
}
