//! The residual rule as a write condition: DynamoDB refuses the write if the stored record does not satisfy it.
//!
//! No client text becomes part of the expression: names and values are passed as placeholders only.

use serde_json::Value;

use crate::expr::{Expr, Op, Operand, Test, Variable, is_system};

/// Maximum length of the condition, in bytes, with a reserve for what the store adds.
const MAX_BYTES: usize = 3_500;
/// Maximum number of operators and functions: DynamoDB allows 300 per expression, minus a reserve for what the store adds.
const MAX_OPERATORS: usize = 250;
/// Maximum number of operands of `IN`.
const MAX_IN: usize = 100;

/// A condition expression with its placeholders.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Condition {
    /// The text, in parentheses if joining requires them.
    pub expression: String,
    /// `#c0` and the attribute it stands for.
    pub names: Vec<(String, String)>,
    /// `:c0` and the value it stands for.
    pub values: Vec<(String, Value)>,
}

/// The condition that a stored record satisfies exactly when it matches `expr`, for items that keep their data fields in the
/// map attribute `data` (and `id`, `version`, `createdAt`, `updatedAt` as `sk`, `v`, `ca`, `ua`). Placeholders begin with
/// `#c` and `:c`. A missing item can satisfy it too, so join `attribute_exists(pk)` to it.
///
/// `None` if DynamoDB cannot express it, or if it is [`Expr::True`] or [`Expr::False`] and not needed.
pub fn condition(expr: &Expr, data: &str) -> Option<Condition> {
    let mut writer = Writer { data, condition: Condition::default() };
    let expression = writer.expression(expr)?;
    if expression.len() > MAX_BYTES || operator_count(&expression) > MAX_OPERATORS {
        return None;
    }
    Some(Condition { expression, ..writer.condition })
}

/// The number of operators and functions in an expression: the words that are not placeholders, and the functions before a
/// parenthesis.
pub fn operator_count(expression: &str) -> usize {
    let words = expression.split(' ').filter(|word| !word.contains(['#', ':']));
    let functions = ["attribute_", "begins_with(", "contains("].map(|name| expression.matches(name).count());
    words.count() + functions.iter().sum::<usize>()
}

struct Writer<'a> {
    data: &'a str,
    condition: Condition,
}

impl Writer<'_> {
    fn expression(&mut self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::True | Expr::False => None,
            Expr::All(parts) => self.joined(parts, " AND "),
            Expr::Any(parts) => self.joined(parts, " OR "),
            // DynamoDB requires distinct operands.
            Expr::Is(test) | Expr::Not(test) if test.is_of_one_place() => None,
            Expr::Is(test) => self.holds(test),
            Expr::Not(test) => self.fails(test),
        }
    }

    fn joined(&mut self, parts: &[Expr], between: &str) -> Option<String> {
        let parts = parts.iter().map(|part| self.expression(part)).collect::<Option<Vec<_>>>()?;
        Some(format!("({})", parts.join(between)))
    }

    /// The test is known to hold.
    fn holds(&mut self, test: &Test) -> Option<String> {
        match test {
            Test::Compare { left, op, right } => self.comparison(left, *op, right),
            Test::In { item, list } => self.membership(item, list, ""),
            Test::StartsWith { text, prefix } => self.prefix(text, prefix, ""),
            Test::Has(place) => Some(format!("attribute_exists({})", self.place(place)?)),
            Test::Stored { field, value: None } => Some(format!("attribute_not_exists({})", self.field(field))),
            Test::Stored { field, value: Some(value) } => {
                let (field, value) = (self.field(field), self.value(value));
                Some(format!("{field} = {value}"))
            }
            Test::Changed(_) | Test::Sent(_) => None,
        }
    }

    /// The test is known not to hold.
    fn fails(&mut self, test: &Test) -> Option<String> {
        match test {
            Test::Compare { .. } | Test::Changed(_) | Test::Sent(_) => None,
            Test::In { item, list } => self.membership(item, list, "NOT "),
            Test::StartsWith { text, prefix } => self.prefix(text, prefix, "NOT "),
            Test::Has(place) => Some(format!("attribute_not_exists({})", self.place(place)?)),
            Test::Stored { field, value: None } => Some(format!("attribute_exists({})", self.field(field))),
            Test::Stored { field, value: Some(value) } => {
                let (field, value) = (self.field(field), self.value(value));
                Some(format!("(attribute_not_exists({field}) OR {field} <> {value})"))
            }
        }
    }

    fn comparison(&mut self, left: &Operand, op: Op, right: &Operand) -> Option<String> {
        let sign = match op {
            Op::Eq => "=",
            Op::Ne => "<>",
            other => other.sign(),
        };
        let (name, other) = (self.operand(left)?, self.operand(right)?);
        let compared = format!("{name} {sign} {other}");
        // `<>` holds for a missing attribute, so a comparison of two fields requires both to exist.
        let exists =
            |operand: &Operand, name: &str| operand.record_field().map(|_| format!("attribute_exists({name}) AND "));
        match (op, right) {
            (Op::Ne, _) | (_, Operand::Variable(_)) => {
                let guards = exists(left, &name).unwrap_or_default() + &exists(right, &other).unwrap_or_default();
                Some(format!("({guards}{compared})"))
            }
            _ => Some(compared),
        }
    }

    fn membership(&mut self, item: &Operand, list: &Operand, not: &str) -> Option<String> {
        match list {
            Operand::Constant(Value::Array(values)) if !values.is_empty() && values.len() <= MAX_IN => {
                let item = self.operand(item)?;
                let values: Vec<String> = values.iter().map(|value| self.value(value)).collect();
                Some(format!("(attribute_exists({item}) AND {not}{item} IN ({}))", values.join(", ")))
            }
            Operand::Constant(_) => None,
            // DynamoDB's `contains` differs for other types.
            Operand::Variable(_) if item.constant().is_some_and(|item| !item.is_string() && !item.is_number()) => None,
            // For a text, `contains` would search a substring.
            Operand::Variable(_) => {
                let (list, is_list) = (self.operand(list)?, self.value(&"L".into()));
                let guard = item
                    .record_field()
                    .map(|_| self.operand(item).map(|item| format!("attribute_exists({item}) AND ")));
                let guard = guard.unwrap_or(Some(String::new()))?;
                let item = self.operand(item)?;
                Some(format!("({guard}attribute_type({list}, {is_list}) AND {not}contains({list}, {item}))"))
            }
        }
    }

    fn prefix(&mut self, text: &Operand, prefix: &Operand, not: &str) -> Option<String> {
        text.record_field()?;
        let (text, prefix_text) = (self.operand(text)?, self.operand(prefix)?);
        let is_text = self.value(&"S".into());
        let guard =
            prefix.record_field().map(|_| format!("attribute_type({prefix_text}, {is_text}) AND ")).unwrap_or_default();
        Some(format!("({guard}attribute_type({text}, {is_text}) AND {not}begins_with({text}, {prefix_text}))"))
    }

    fn operand(&mut self, operand: &Operand) -> Option<String> {
        match operand {
            Operand::Constant(value) => Some(self.value(value)),
            Operand::Variable(place) => self.place(place),
        }
    }

    fn place(&mut self, place: &Variable) -> Option<String> {
        match place {
            Variable::Record(field) => Some(self.field(field)),
            Variable::Auth(_) | Variable::Input(_) | Variable::Now => None,
        }
    }

    /// The attribute path of a stored field.
    fn field(&mut self, field: &str) -> String {
        let attribute = match field {
            "id" => "sk",
            "version" => "v",
            "createdAt" => "ca",
            "updatedAt" => "ua",
            data => data,
        };
        let name = self.name(attribute);
        if is_system(field) { name } else { format!("{}.{name}", self.name(self.data)) }
    }

    fn name(&mut self, attribute: &str) -> String {
        let names = &mut self.condition.names;
        if let Some((placeholder, _)) = names.iter().find(|(_, name)| name == attribute) {
            return placeholder.clone();
        }
        let placeholder = format!("#c{}", names.len());
        names.push((placeholder.clone(), attribute.to_owned()));
        placeholder
    }

    fn value(&mut self, value: &Value) -> String {
        let values = &mut self.condition.values;
        let placeholder = format!(":c{}", values.len());
        values.push((placeholder.clone(), value.clone()));
        placeholder
    }
}
