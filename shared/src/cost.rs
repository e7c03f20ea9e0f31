//! The cost of a request, counted while it runs: exact capacity units as DynamoDB reports them, network round trips, and
//! items read. `http::serve` starts the count and writes it into the `Undercroft-Cost` header.

use aws_sdk_dynamodb::types::ConsumedCapacity;
use std::cell::RefCell;
use std::future::Future;

/// The cost of one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// Read request units.
    pub rru: f64,
    /// Write request units.
    pub wru: f64,
    /// Network round trips to AWS, retries included.
    pub trips: u32,
    /// Items that DynamoDB read for the response.
    pub scanned: u64,
    /// Whether only admins may see the cost: see [`withhold`].
    pub withheld: bool,
    /// Whether only admins may see the units: see [`withhold_units`].
    pub units_withheld: bool,
}

impl Cost {
    /// Whether only admins may see the cost.
    pub fn is_withheld(&self) -> bool {
        self.withheld || (self.units_withheld && self.trips > 0)
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rru={}; wru={}; trips={}; scanned={}", self.rru, self.wru, self.trips, self.scanned)
    }
}

tokio::task_local! {
    static COST: RefCell<Cost>;
}

/// Runs `work` with a fresh count, and returns its cost beside its result.
pub async fn counted<F: Future>(work: F) -> (F::Output, Cost) {
    COST.scope(RefCell::new(Cost::default()), async {
        let answer = work.await;
        (answer, COST.with(|cost| cost.borrow().clone()))
    })
    .await
}

fn add(change: impl FnOnce(&mut Cost)) {
    // Outside a request (start-up, tests of one store call) nothing is counted.
    let _ = COST.try_with(|cost| change(&mut cost.borrow_mut()));
}

/// Counts one network round trip.
pub fn trip() {
    add(|cost| cost.trips += 1);
}

/// Withholds the cost: something was read that the caller may not see, and its cost would reveal whether it exists and how
/// large it is.
pub fn withhold() {
    add(|cost| cost.withheld = true);
}

/// Withholds the units: the size of the items read or written is hidden from the caller, and units would reveal it. The
/// caller may still learn that nothing was read or written.
pub fn withhold_units() {
    add(|cost| cost.units_withheld = true);
}

/// Counts a read.
pub fn read(capacity: Option<&ConsumedCapacity>, scanned: usize) {
    add(|cost| {
        cost.rru += units(capacity);
        cost.scanned += u64::try_from(scanned).unwrap_or(u64::MAX);
    });
}

/// Counts a write.
pub fn write<'a>(capacity: impl IntoIterator<Item = &'a ConsumedCapacity>) {
    add(|cost| cost.wru += capacity.into_iter().map(|capacity| units(Some(capacity))).sum::<f64>());
}

fn units(capacity: Option<&ConsumedCapacity>) -> f64 {
    capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or(0.0)
}
