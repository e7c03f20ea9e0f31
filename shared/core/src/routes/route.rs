//! One route: who may call it, what it takes, and everything it can answer.

/// The parameters that are headers.
const HEADERS: [&str; 3] = ["IfMatch", "IfNoneMatch", "IdempotencyKey"];

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Everybody. A token that is sent is not looked at.
    Anyone,
    /// Everybody; a token that is sent must be good, and decides how much is told.
    AnyoneByToken,
    /// Whoever holds a token of the session, access or refresh.
    Session,
    /// Whoever is signed in.
    SignedIn,
    /// Admins.
    Admin,
    /// Whoever may do each of the operations in the body, by the rules of their collections.
    EachOperation,
    /// Whoever one of these rules of the collection allows.
    Rules(&'static [&'static str]),
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anyone | Self::AnyoneByToken => f.write_str("anyone"),
            Self::Session => f.write_str("session"),
            Self::SignedIn => f.write_str("signed-in"),
            Self::Admin => f.write_str("admin"),
            Self::EachOperation => f.write_str("each-operation"),
            Self::Rules(rules) => write!(f, "rule:{}", rules.join(",")),
        }
    }
}

/// A body that is read.
#[derive(Debug, Clone)]
pub struct Body {
    /// Its schema, by name.
    pub schema: &'static str,
    /// Media types it may have, the first one named in advice.
    pub media: &'static [&'static str],
    /// Whether it may be left out.
    pub optional: bool,
}

/// An answer that is no refusal.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// What it means here.
    pub means: &'static str,
    /// Media type and schema of its body, if it has one.
    pub body: Option<(&'static str, &'static str)>,
    /// Headers it has besides those of every answer, by name.
    pub headers: Vec<&'static str>,
}

/// A route.
#[derive(Debug, Clone)]
pub struct Route {
    /// `get`, `post`, ...
    pub method: &'static str,
    /// As in the router.
    pub path: &'static str,
    /// Unique in the document: the name a generated client gives it.
    pub id: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What else there is to know.
    pub description: &'static str,
    /// Who may call.
    pub policy: Policy,
    /// Query and header parameters, by name.
    pub parameters: Vec<&'static str>,
    /// What it reads.
    pub body: Option<Body>,
    /// What it answers.
    pub answers: Vec<Response>,
    /// What it refuses besides what follows from the rest, with the reason.
    pub refusals: Vec<(u16, &'static str)>,
}

/// A route that reads.
pub fn get(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("get", path, id, policy)
}

/// A route that makes, or makes something happen.
pub fn post(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("post", path, id, policy)
}

/// A route that replaces.
pub fn put(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("put", path, id, policy)
}

/// A route that changes.
pub fn patch(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("patch", path, id, policy)
}

/// A route that removes.
pub fn delete(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("delete", path, id, policy)
}

fn route(method: &'static str, path: &'static str, id: &'static str, policy: Policy) -> Route {
    Route {
        method,
        path,
        id,
        summary: "",
        description: "",
        policy,
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        refusals: Vec::new(),
    }
}

impl Route {
    /// What it does, in a line.
    pub fn does(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// What else there is to know.
    pub fn note(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Query and header parameters it takes, by name.
    pub fn takes(mut self, parameters: &[&'static str]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Keeps its answer for an `Idempotency-Key`.
    pub fn idempotency_key(self) -> Self {
        self.takes(&["IdempotencyKey"])
    }

    /// Reads a JSON body.
    pub fn reads(self, schema: &'static str) -> Self {
        self.reads_as(&["application/json"], schema)
    }

    /// Reads a body of one of these media types.
    pub fn reads_as(self, media: &'static [&'static str], schema: &'static str) -> Self {
        Self { body: Some(Body { schema, media, optional: false }), ..self }
    }

    /// Reads a JSON body if there is one.
    pub fn may_read(self, schema: &'static str) -> Self {
        Self { body: Some(Body { schema, media: &["application/json"], optional: true }), ..self }
    }

    /// Answers JSON.
    pub fn answers(self, status: u16, schema: &'static str, means: &'static str) -> Self {
        self.answers_as("application/json", status, schema, means)
    }

    /// Answers a body of this media type.
    pub fn answers_as(mut self, media: &'static str, status: u16, schema: &'static str, means: &'static str) -> Self {
        self.answers.push(Response { status, means, body: Some((media, schema)), headers: Vec::new() });
        self
    }

    /// Answers without a body.
    pub fn answers_empty(mut self, status: u16, means: &'static str) -> Self {
        self.answers.push(Response { status, means, body: None, headers: Vec::new() });
        self
    }

    /// The answer named last has these headers.
    pub fn with(mut self, headers: &[&'static str]) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.extend(headers);
        }
        self
    }

    /// Refuses for a reason that does not follow from who may call and what is taken.
    pub fn refuses(mut self, status: u16, reason: &'static str) -> Self {
        self.refusals.push((status, reason));
        self
    }

    /// Answers 501 to everybody.
    pub fn not_built(self) -> Self {
        self.refuses(501, "Part of the design and not built yet.")
    }

    /// Whether it does something already.
    pub fn is_built(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Whether its price is kept from those whom it would tell of what they may not see: that a relation led somewhere, whether
    /// records point, or pointed, at one that is to be deleted, whether another has, or had, a unique value, how much was deleted
    /// within their list, how much was changed outside it, what a hidden field weighs, or what is kept of an address.
    pub fn withholds_cost(&self) -> bool {
        let withheld = ["/records", "/schema", "/v1/batch", "/v1/changes", "/v1/auth/signup", "/v1/auth/verify"];
        withheld.iter().any(|part| self.path.contains(part))
    }

    /// Whether it takes this parameter, by its name in the table: `IfMatch`, `IfNoneMatch`, `IdempotencyKey`, or one of the query.
    pub fn takes_parameter(&self, name: &str) -> bool {
        self.parameters.contains(&name)
    }

    /// Whether it takes parameters in the query.
    pub fn takes_query(&self) -> bool {
        self.parameters.iter().any(|name| !HEADERS.contains(name))
    }

    /// Whether it only reads.
    pub fn is_safe(&self) -> bool {
        self.method == "get"
    }
}
