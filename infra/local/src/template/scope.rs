//! Resolves parameters, conditions, references and intrinsic functions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::TemplateError;

/// Region of the local cloud.
pub const REGION: &str = "us-east-1";
/// Account of the local cloud.
pub const ACCOUNT: &str = "000000000000";

const MAX_CONDITION_DEPTH: usize = 32;

/// Why a value cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveError {
    /// It refers to a resource that has not been created yet.
    NotYetCreated {
        /// `LogicalId.Attribute`, or the bare logical id.
        reference: String,
    },
    /// It is invalid or not supported; the caller adds the resource's name.
    Invalid(TemplateError),
}

/// The values that intrinsic functions can refer to.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    parameters: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Value>,
    /// `LogicalId` (what `!Ref` gives) and `LogicalId.Attribute` (what `!GetAtt` gives), of created resources.
    known: BTreeMap<String, Value>,
    resources: Vec<String>,
}

impl Scope {
    /// A scope over these parameter values and (unevaluated) conditions, for a template with these resources.
    pub fn new(
        stack: &str,
        parameters: BTreeMap<String, Value>,
        conditions: Map<String, Value>,
        resources: Vec<String>,
    ) -> Self {
        let pseudo = [
            ("AWS::AccountId", ACCOUNT),
            ("AWS::Partition", "aws"),
            ("AWS::Region", REGION),
            ("AWS::StackName", stack),
            ("AWS::URLSuffix", "amazonaws.com"),
        ];
        let known = pseudo.map(|(name, value)| (name.to_owned(), Value::from(value)));
        Self { parameters, conditions: conditions.into_iter().collect(), known: known.into(), resources }
    }

    /// Defines the value of `!Ref` (an empty `attribute`) or `!GetAtt` for a resource.
    pub fn define(&mut self, resource: &str, attribute: &str, value: impl Into<Value>) {
        self.known.insert(reference(resource, attribute), value.into());
    }

    /// Resolves `value`; `None` if it is `AWS::NoValue`.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, value: &Value) -> Result<Option<Value>, ResolveError> {
        match value {
            Value::Object(fields) => match intrinsic(fields) {
                Some((name, argument)) => self.call(name, argument),
                None => self.resolve_fields(fields).map(Some),
            },
            Value::Array(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.resolve(item)).collect();
                Ok(Some(items?.into_iter().flatten().collect()))
            }
            Value::String(text) if text.contains("{{resolve:") => {
                invalid(text, "dynamic references are not supported by the local cloud")
            }
            plain => Ok(Some(plain.clone())),
        }
    }

    /// Whether the named condition holds.
    ///
    /// # Errors
    /// The condition is not declared, refers to itself, or is not supported.
    pub fn holds(&self, condition: &str) -> Result<bool, ResolveError> {
        self.holds_at(condition, 0)
    }

    fn holds_at(&self, condition: &str, depth: usize) -> Result<bool, ResolveError> {
        match self.conditions.get(condition) {
            None => invalid(condition, "is not a condition of this template"),
            Some(_) if depth > MAX_CONDITION_DEPTH => invalid(condition, "the condition refers to itself"),
            Some(expression) => self.truth(expression, depth),
        }
    }

    fn truth(&self, expression: &Value, depth: usize) -> Result<bool, ResolveError> {
        let Some((name, argument)) = expression.as_object().and_then(intrinsic) else {
            return invalid(&expression.to_string(), "is not a condition");
        };
        let parts = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (name, parts, argument) {
            ("Condition", _, Value::String(other)) => self.holds_at(other, depth + 1),
            ("Fn::Equals", [left, right], _) => Ok(self.text(left)? == self.text(right)?),
            ("Fn::Not", [only], _) => Ok(!self.truth(only, depth)?),
            ("Fn::And", parts, _) => parts.iter().try_fold(true, |all, part| Ok(all & self.truth(part, depth)?)),
            ("Fn::Or", parts, _) => parts.iter().try_fold(false, |any, part| Ok(any | self.truth(part, depth)?)),
            _ => invalid(name, "is not a condition function"),
        }
    }

    fn resolve_fields(&self, fields: &Map<String, Value>) -> Result<Value, ResolveError> {
        let mut plain = Map::new();
        for (name, value) in fields {
            if let Some(value) = self.resolve(value)? {
                plain.insert(name.clone(), value);
            }
        }
        Ok(Value::Object(plain))
    }

    fn call(&self, name: &str, argument: &Value) -> Result<Option<Value>, ResolveError> {
        let parts = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (name, argument, parts) {
            ("Ref", Value::String(target), _) if target == "AWS::NoValue" => Ok(None),
            ("Ref", Value::String(target), _) => self.lookup(target, "").map(Some),
            ("Fn::GetAtt", Value::String(path), _) => {
                let (resource, attribute) = path.split_once('.').unwrap_or((path, ""));
                self.lookup(resource, attribute).map(Some)
            }
            ("Fn::GetAtt", _, [Value::String(resource), Value::String(attribute)]) => {
                self.lookup(resource, attribute).map(Some)
            }
            ("Fn::Sub", Value::String(pattern), _) => self.substitute(pattern, &Map::new()).map(Some),
            ("Fn::Sub", _, [Value::String(pattern), Value::Object(names)]) => self.substitute(pattern, names).map(Some),
            ("Fn::If", _, [Value::String(condition), yes, no]) => {
                self.resolve(if self.holds(condition)? { yes } else { no })
            }
            ("Fn::Join", _, [Value::String(separator), list]) => {
                Ok(Some(self.list(list)?.iter().map(plain_text).collect::<Vec<_>>().join(separator).into()))
            }
            ("Fn::Split", _, [Value::String(separator), whole]) => {
                Ok(Some(self.text(whole)?.split(separator.as_str()).map(Value::from).collect()))
            }
            ("Fn::Select", _, [index, list]) => {
                let position = self.text(index)?.parse::<usize>().ok();
                match position.and_then(|position| self.list(list).ok()?.get(position).cloned()) {
                    Some(chosen) => Ok(Some(chosen)),
                    None => invalid(name, "has no element at this index"),
                }
            }
            ("Ref" | "Fn::GetAtt" | "Fn::Sub" | "Fn::If" | "Fn::Join" | "Fn::Split" | "Fn::Select", ..) => {
                invalid(name, "has invalid arguments")
            }
            _ => invalid(name, "this intrinsic function is not supported by the local cloud"),
        }
    }

    fn lookup(&self, target: &str, attribute: &str) -> Result<Value, ResolveError> {
        let wanted = reference(target, attribute);
        if let Some(value) = self.known.get(&wanted) {
            return Ok(value.clone());
        }
        match self.parameters.get(target) {
            Some(value) if attribute.is_empty() => Ok(value.clone()),
            _ if self.resources.iter().any(|resource| resource == target) => {
                Err(ResolveError::NotYetCreated { reference: wanted })
            }
            _ => invalid(&wanted, "is not a parameter or resource of this template"),
        }
    }

    /// Replaces each `${Name}` or `${Resource.Attribute}`; `${!Literal}` stays as `${Literal}`.
    fn substitute(&self, pattern: &str, names: &Map<String, Value>) -> Result<Value, ResolveError> {
        let mut pieces = pattern.split("${");
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let Some((name, rest)) = piece.split_once('}') else {
                return invalid("Fn::Sub", "has a ${ without a closing }");
            };
            match (name.strip_prefix('!'), names.get(name)) {
                (Some(literal), _) => text.push_str(&format!("${{{literal}}}")),
                (None, Some(value)) => text.push_str(&self.text(value)?),
                (None, None) => {
                    let (target, attribute) = name.split_once('.').unwrap_or((name, ""));
                    text.push_str(&plain_text(&self.lookup(target, attribute)?));
                }
            }
            text.push_str(rest);
        }
        Ok(text.into())
    }

    fn text(&self, value: &Value) -> Result<String, ResolveError> {
        Ok(self.resolve(value)?.as_ref().map(plain_text).unwrap_or_default())
    }

    fn list(&self, value: &Value) -> Result<Vec<Value>, ResolveError> {
        match self.resolve(value)? {
            Some(Value::Array(items)) => Ok(items),
            Some(Value::String(text)) => Ok(text.split(',').map(Value::from).collect()),
            _ => invalid("list", "is not a list"),
        }
    }
}

/// A scalar as text, as CloudFormation formats it.
pub fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn intrinsic(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = fields.iter().next().filter(|_| fields.len() == 1)?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::")).then_some((name.as_str(), argument))
}

fn reference(resource: &str, attribute: &str) -> String {
    if attribute.is_empty() { resource.to_owned() } else { format!("{resource}.{attribute}") }
}

fn invalid<T>(property: &str, why: &str) -> Result<T, ResolveError> {
    Err(ResolveError::Invalid(TemplateError::new("", property, why)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let parameters = [("Mode".to_owned(), json!("fast")), ("Names".to_owned(), json!(["a", "b"]))];
        let conditions = json!({
            "Fast": { "Fn::Equals": [{ "Ref": "Mode" }, "fast"] },
            "Slow": { "Fn::Not": [{ "Condition": "Fast" }] },
            "Both": { "Fn::And": [{ "Condition": "Fast" }, { "Condition": "Slow" }] },
            "Either": { "Fn::Or": [{ "Condition": "Slow" }, { "Condition": "Fast" }] },
            "Circle": { "Condition": "Circle" },
        });
        let Value::Object(conditions) = conditions else { unreachable!() };
        let mut scope = Scope::new("stack", parameters.into(), conditions, vec!["Table".into(), "Later".into()]);
        scope.define("Table", "", "stack-Table");
        scope.define("Table", "Arn", "arn:table");
        scope
    }

    #[test]
    fn every_supported_function_is_resolved() {
        let cases = [
            (json!({ "Ref": "Mode" }), json!("fast")),
            (json!({ "Ref": "AWS::StackName" }), json!("stack")),
            (json!({ "Fn::GetAtt": ["Table", "Arn"] }), json!("arn:table")),
            (
                json!({ "Fn::Sub": "${Table}/${Table.Arn}/${AWS::Region}/${!Kept}" }),
                json!("stack-Table/arn:table/us-east-1/${Kept}"),
            ),
            (json!({ "Fn::Sub": ["${x}-${Mode}", { "x": { "Ref": "Table" } }] }), json!("stack-Table-fast")),
            (json!({ "Fn::If": ["Fast", 1, 2] }), json!(1)),
            (json!({ "Fn::If": ["Both", 1, 2] }), json!(2)),
            (json!({ "Fn::If": ["Either", 1, 2] }), json!(1)),
            (json!({ "Fn::Join": ["-", ["a", { "Ref": "Mode" }]] }), json!("a-fast")),
            (json!({ "Fn::Select": [1, { "Ref": "Names" }] }), json!("b")),
            (json!({ "Fn::Select": ["0", { "Fn::Split": ["|", "x|y"] }] }), json!("x")),
            (json!({ "a": { "Ref": "AWS::NoValue" }, "b": [{ "Ref": "AWS::NoValue" }, 1] }), json!({ "b": [1] })),
        ];
        for (written, expected) in cases {
            assert_eq!(scope().resolve(&written), Ok(Some(expected)), "{written}");
        }
    }

    #[test]
    fn a_resource_that_is_not_created_yet_is_distinguished_from_an_invalid_reference() {
        let later = scope().resolve(&json!({ "Fn::GetAtt": ["Later", "Arn"] }));
        assert_eq!(later, Err(ResolveError::NotYetCreated { reference: "Later.Arn".into() }));
        for written in [
            json!({ "Ref": "Nowhere" }),
            json!({ "Fn::Cidr": ["10.0.0.0/8", 1, 1] }),
            json!({ "Fn::If": ["Undeclared", 1, 2] }),
            json!({ "Fn::If": ["Circle", 1, 2] }),
            json!({ "Fn::Sub": "${open" }),
            json!("{{resolve:ssm:/x}}"),
        ] {
            let is_invalid = matches!(scope().resolve(&written), Err(ResolveError::Invalid(_)));
            assert!(is_invalid, "{written}");
        }
    }
}
