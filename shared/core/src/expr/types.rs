//! The names that an expression may use: the fields of a collection with their kinds, and the rules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The fields that the server sets on every record. Clients never write them.
pub const SYSTEM_FIELDS: [&str; 4] = ["id", "createdAt", "updatedAt", "version"];

/// Whether the server sets this field of every record.
pub fn is_system(field: &str) -> bool {
    SYSTEM_FIELDS.contains(&field)
}

/// The kind of a field's values, for expressions and indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// An integer or any other number. All have one order.
    Number,
    /// A boolean.
    Flag,
    /// A point in time, RFC 3339 in UTC with milliseconds, so that text order is time order.
    Moment,
    /// An array of one kind.
    List(Box<Kind>),
    /// Objects, mixed arrays and mixed types. Only `has` and `changed` apply.
    Other,
}

impl Kind {
    /// Whether a value of this kind can be compared, sorted and indexed.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Self::Text | Self::Number | Self::Flag | Self::Moment)
    }

    /// The kind in a message.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Flag => "a boolean",
            Self::Moment => "a time",
            Self::List(_) => "a list",
            Self::Other => "an object or of mixed type",
        }
    }
}

/// What an expression needs to know about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldType {
    /// The kind of its values.
    pub kind: Kind,
    /// Whether `null` is among its values.
    pub nullable: bool,
    /// Whether it is hidden from clients. Rules may use it, filters and sorts may not.
    pub hidden: bool,
    /// Whether clients cannot write it.
    pub read_only: bool,
}

impl FieldType {
    /// A visible, writable field of this kind that is never `null`.
    pub fn plain(kind: Kind) -> Self {
        Self { kind, nullable: false, hidden: false, read_only: false }
    }
}

/// The fields of a collection, server-owned fields included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTypes(BTreeMap<String, FieldType>);

impl FieldTypes {
    /// These fields, and the four of every record.
    pub fn new(fields: impl IntoIterator<Item = (String, FieldType)>) -> Self {
        let system =
            [("id", Kind::Text), ("createdAt", Kind::Moment), ("updatedAt", Kind::Moment), ("version", Kind::Number)];
        let mut all: BTreeMap<String, FieldType> = fields.into_iter().collect();
        all.extend(system.map(|(name, kind)| (name.to_owned(), FieldType::plain(kind))));
        Self(all)
    }

    /// The field with that name, hidden or not.
    pub fn get(&self, name: &str) -> Option<&FieldType> {
        self.0.get(name)
    }

    /// The field with that name, unless it is hidden.
    pub fn visible(&self, name: &str) -> Option<&FieldType> {
        self.get(name).filter(|field| !field.hidden)
    }
}

/// The actions that a collection has rules for. A missing rule means admins only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Listing records.
    List,
    /// Reading one by id.
    Read,
    /// Creating one.
    Create,
    /// Changing one.
    Update,
    /// Deleting one.
    Delete,
    /// Undeleting one that another caller deleted. If missing: admins, and whoever deleted it.
    Undelete,
    /// Referring to one from another record without being able to read it. A caller who may read it may always refer to it.
    Refer,
}

impl Rule {
    /// All of them, in their usual order.
    pub const ALL: [Self; 7] =
        [Self::List, Self::Read, Self::Create, Self::Update, Self::Delete, Self::Undelete, Self::Refer];

    /// The rule's name in a definition.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Refer => "refer",
        }
    }

    /// Whether the rule may use a stored record.
    pub fn knows_record(self) -> bool {
        self != Self::Create
    }

    /// Whether the rule may use the data being written.
    pub fn knows_input(self) -> bool {
        matches!(self, Self::Create | Self::Update)
    }
}
