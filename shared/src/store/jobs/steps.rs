//! Cancelling and redriving a job. Alone, a step is one conditional write. With an idempotency key it is part of the
//! transaction that stores the response, which must be known beforehand.

use super::{Job, Jobs, KEEP_FINISHED, Status, key};
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::store::item::{Item, integer, number, string, text};
use crate::store::{Expression, WriteOutcome};
use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use undercroft_core::jobs::{JOB_KINDS, JobKind};

/// A step that an admin requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Cancel: it will not run.
    Cancel,
    /// Redrive: queue it again with all its attempts.
    Redrive,
}

/// A step as one item of a transaction.
#[derive(Debug)]
pub struct Stepped {
    /// The write.
    pub item: TransactWriteItem,
    /// The job after the write.
    pub job: Job,
}

impl Step {
    /// The statuses that allow it.
    fn from(self) -> &'static [Status] {
        match self {
            Self::Cancel => &[Status::Queued, Status::Retrying],
            Self::Redrive => &[Status::Dead, Status::Cancelled],
        }
    }

    fn to(self) -> Status {
        match self {
            Self::Cancel => Status::Cancelled,
            Self::Redrive => Status::Queued,
        }
    }

    /// Why a job of this type does not allow it in any status: a system job cannot be cancelled, but the change that created
    /// it can be undone.
    fn never(self, kind: &str) -> Option<Error> {
        if self != Self::Cancel {
            return None;
        }
        let instead = JobKind::named(kind)?.instead_of_cancelling?;
        let detail =
            format!("This job results from a change to a definition or a record and cannot be cancelled. {instead}");
        Some(Error::conflict("system_job", detail))
    }

    /// The error for a job in this status.
    fn wrong(self, status: &str) -> Error {
        let rule = match self {
            Self::Cancel => "Only a queued or retrying job can be cancelled",
            Self::Redrive => "Only a dead or cancelled job can be redriven",
        };
        Error::conflict("wrong_status", format!("{rule}; this one is {status}."))
    }
}

impl Jobs {
    /// Applies a step to a job. `request` identifies it, so that the SDK's retry after a lost response is recognised.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` naming the job's status.
    pub async fn step(&self, step: Step, id: &str, request: &str) -> Result<Job> {
        match self.table.update(key(id), self.change(step, request), self.condition(step)).await? {
            WriteOutcome::Done(changed) => Job::from_item(&changed),
            // The first attempt succeeded. The job may have progressed since.
            WriteOutcome::ConditionFailed(Some(old)) if text(&old, "asked") == Some(request) => Job::from_item(&old),
            WriteOutcome::ConditionFailed(old) => Err(self.refusal(step, old.as_ref())),
        }
    }

    /// The same as part of a transaction, for a job that was read.
    ///
    /// # Errors
    /// `Conflict` naming the job's status.
    pub fn stepping(&self, step: Step, job: &Job, request: &str) -> Result<Stepped> {
        if let Some(never) = step.never(&job.kind) {
            return Err(never);
        }
        let may_be_stuck = step == Step::Redrive && job.status == Status::Running;
        if !may_be_stuck && !step.from().contains(&job.status) {
            return Err(step.wrong(job.status.as_str()));
        }
        let mut after = Job { status: step.to(), updated_at: rfc3339(self.clock.millis()), ..job.clone() };
        if step == Step::Redrive {
            after = Job { attempts: 0, run: job.run + 1, ..after };
        }
        let as_read = Expression::new("run = :run AND attempts = :attempts AND #status = :seen")
            .value(":run", number(job.run))
            .value(":attempts", number(job.attempts.into()))
            .value(":seen", string(job.status.as_str()));
        let condition = self.condition(step).and(as_read);
        let change = self.change(step, request).value(":at", string(&after.updated_at));
        let all = change.clone().with_placeholders_of(&condition);
        let update = Update::builder()
            .table_name(self.table.name())
            .set_key(Some(key(&job.id)))
            .update_expression(change.text)
            .condition_expression(condition.text)
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        Ok(Stepped { item: TransactWriteItem::builder().update(update).build(), job: after })
    }

    /// Why a step on a job that was read was refused. `None` if the job has changed since.
    pub fn refused(&self, step: Step, job: &Job, old: Option<&Item>) -> Option<Error> {
        let as_read = |old: &Item| {
            (text(old, "status"), integer(old, "run"), integer(old, "attempts"))
                == (Some(job.status.as_str()), Some(job.run), Some(job.attempts.into()))
        };
        old.is_none_or(as_read).then(|| self.refusal(step, old))
    }

    fn refusal(&self, step: Step, old: Option<&Item>) -> Error {
        match old.filter(|old| !self.is_over(old)) {
            Some(old) => {
                let never = text(old, "type").and_then(|kind| step.never(kind));
                never.unwrap_or_else(|| step.wrong(text(old, "status").unwrap_or("unknown")))
            }
            None => Error::NotFound("job"),
        }
    }

    fn condition(&self, step: Step) -> Expression {
        let placeholders: Vec<String> = (0..step.from().len()).map(|position| format!(":s{position}")).collect();
        let from = Expression::new(format!("#status IN ({})", placeholders.join(", "))).name("#status", "status");
        let bound = |all: Expression, (name, status): (&String, &Status)| all.value(name, string(status.as_str()));
        let from = placeholders.iter().zip(step.from()).fold(from, bound);
        if step == Step::Cancel {
            let kept = JOB_KINDS.iter().filter(|kind| kind.instead_of_cancelling.is_some());
            let kept: Vec<(String, &str)> =
                kept.enumerate().map(|(position, kind)| (format!(":kept{position}"), kind.name)).collect();
            let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
            let cancellable = Expression::new(format!("NOT #type IN ({})", names.join(", "))).name("#type", "type");
            return from.and(kept.iter().fold(cancellable, |all, (name, kind)| all.value(name, string(*kind))));
        }
        // A job whose worker and message are both lost is stuck in `running`; this condition allows redriving it.
        let text = format!(
            "({} OR (#status = :running AND lease < :now)) AND (attribute_not_exists(#ttl) OR #ttl > :now)",
            from.text
        );
        Expression { text, ..from }
            .name("#ttl", "ttl")
            .value(":running", string(Status::Running.as_str()))
            .value(":now", number(self.clock.seconds()))
    }

    fn change(&self, step: Step, request: &str) -> Expression {
        let change = match step {
            Step::Cancel => {
                let change = self.to_status(step.to(), ", asked = :asked, #ttl = :ttl", "");
                change.value(":ttl", self.in_seconds(KEEP_FINISHED))
            }
            Step::Redrive => {
                // `runAt` stays: a job that was cancelled before its time does not run before it.
                let set = ", asked = :asked, attempts = :zero, run = run + :one, listed = :live";
                let change = self.to_status(step.to(), set, " REMOVE #ttl, lease");
                change.value(":zero", number(0)).value(":one", number(1)).value(":live", string("live"))
            }
        };
        change.name("#ttl", "ttl").value(":asked", string(request))
    }
}
