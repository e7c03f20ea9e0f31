//! A role of the template and its policy evaluation. A policy that cannot be evaluated exactly as in AWS is rejected.

use serde_json::Value;

use super::pattern::matches;
use super::required_action::RequiredAction;
use crate::template::{TemplateError, plain_text};

/// The supported condition keys.
const CONDITION_KEYS: &[&str] = &["dynamodb:LeadingKeys", "ses:FromAddress"];
/// Condition keys with several values, which require `ForAllValues`.
const MANY_VALUED: &[&str] = &["dynamodb:LeadingKeys"];

/// A role with its policy statements.
#[derive(Debug, Clone)]
pub struct Role {
    /// Physical name.
    pub name: String,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    name: String,
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    /// `ForAllValues`: as in AWS, the condition also holds when the request has no value for the key.
    for_all: bool,
    /// Whether the operator is `StringLike`, otherwise `StringEquals`.
    like: bool,
    key: String,
    values: Vec<String>,
}

/// The result of a policy evaluation.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Allowed by these statements, each with the matching action.
    Allowed(Vec<(&'a str, &'a str)>),
    /// Denied.
    Denied {
        /// Whether a statement denies it explicitly.
        explicitly: bool,
    },
}

impl Role {
    /// Reads a role's resolved properties.
    ///
    /// # Errors
    /// A statement that is not supported, named in the error.
    pub fn read(name: String, properties: &Value) -> Result<Self, TemplateError> {
        let mut statements = Vec::new();
        for policy in list(properties.get("Policies")) {
            let document = policy.get("PolicyDocument").unwrap_or(&Value::Null);
            if document.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
                return Err(TemplateError::new("PolicyDocument", "Version", "must be 2012-10-17"));
            }
            for (at, statement) in list(document.get("Statement")).iter().enumerate() {
                let sid = statement.get("Sid").map_or_else(|| format!("Statement {}", at + 1), plain_text);
                let read = Statement::read(sid.clone(), statement);
                statements.push(read.map_err(|error| error.within("", &format!("Policies.{sid}")))?);
            }
        }
        Ok(Self { name, statements })
    }

    /// Evaluates the policies: at least one statement must allow the action, and none may deny it.
    pub fn evaluate(&self, required: &RequiredAction) -> Decision<'_> {
        let matching: Vec<_> =
            self.statements.iter().filter_map(|one| Some((one, one.matching_action(required)?))).collect();
        if matching.is_empty() || matching.iter().any(|(statement, _)| !statement.allows) {
            return Decision::Denied { explicitly: !matching.is_empty() };
        }
        Decision::Allowed(matching.into_iter().map(|(statement, action)| (statement.name.as_str(), action)).collect())
    }

    /// The name of each statement with each action that it allows.
    pub fn allowed_actions(&self) -> impl Iterator<Item = (&str, &str)> {
        let allowing = self.statements.iter().filter(|statement| statement.allows);
        allowing.flat_map(|one| one.actions.iter().map(|action| (one.name.as_str(), action.as_str())))
    }
}

impl Statement {
    fn read(name: String, statement: &Value) -> Result<Self, TemplateError> {
        let known = ["Action", "Condition", "Effect", "Resource", "Sid"];
        let fields = statement.as_object();
        if let Some(unknown) = fields.and_then(|fields| fields.keys().find(|key| !known.contains(&key.as_str()))) {
            return Err(TemplateError::new("", unknown, "is not supported by the local cloud"));
        }
        let allows = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err(TemplateError::new("", "Effect", "must be Allow or Deny")),
        };
        let (actions, resources) = (texts(statement.get("Action")), texts(statement.get("Resource")));
        if actions.is_empty() || resources.is_empty() {
            return Err(TemplateError::new("", "Action and Resource", "must both have a value"));
        }
        if let Some(variable) = resources.iter().find(|resource| resource.contains("${")) {
            return Err(TemplateError::new(
                "Resource",
                variable,
                "policy variables are not supported by the local cloud",
            ));
        }
        Ok(Self { name, allows, actions, resources, conditions: conditions(statement.get("Condition"))? })
    }

    /// The action of this statement that matches `required`, if the resource and the conditions match as well.
    fn matching_action(&self, required: &RequiredAction) -> Option<&str> {
        let wanted = required.action.to_lowercase();
        let action = self.actions.iter().find(|action| matches(&action.to_lowercase(), &wanted))?;
        let applies = self.resources.iter().any(|resource| matches(resource, &required.resource))
            && self.conditions.iter().all(|condition| condition.holds(required));
        applies.then_some(action)
    }
}

impl Condition {
    fn read(operator: &str, key: &str, values: &Value) -> Result<Self, TemplateError> {
        let (for_all, comparison) = match operator.strip_prefix("ForAllValues:") {
            Some(comparison) => (true, comparison),
            None => (false, operator),
        };
        let like = match comparison {
            "StringEquals" => false,
            "StringLike" => true,
            _ => {
                return Err(TemplateError::new(
                    "Condition",
                    operator,
                    "this condition operator is not supported by the local cloud",
                ));
            }
        };
        if !CONDITION_KEYS.contains(&key) {
            return Err(TemplateError::new(
                format!("Condition.{operator}"),
                key,
                "this condition key is not supported by the local cloud",
            ));
        }
        if !for_all && MANY_VALUED.contains(&key) {
            return Err(TemplateError::new(
                format!("Condition.{operator}"),
                key,
                "has several values and requires ForAllValues",
            ));
        }
        let values = texts(Some(values));
        if let Some(variable) = values.iter().find(|value| value.contains("${")) {
            return Err(TemplateError::new(
                "Condition",
                variable,
                "policy variables are not supported by the local cloud",
            ));
        }
        Ok(Self { for_all, like, key: key.to_owned(), values })
    }

    fn holds(&self, required: &RequiredAction) -> bool {
        let found = required.context.get(self.key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let wanted = |value: &String| {
            self.values.iter().any(|allowed| if self.like { matches(allowed, value) } else { allowed == value })
        };
        found.iter().all(wanted) && (self.for_all || !found.is_empty())
    }
}

fn conditions(value: Option<&Value>) -> Result<Vec<Condition>, TemplateError> {
    let operators = value.and_then(Value::as_object).into_iter().flatten();
    let each = operators.flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| Condition::read(operator, key, values))
    });
    each.collect()
}

/// In a policy, a single value can be written instead of a list.
fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    list(value).into_iter().map(plain_text).collect()
}
