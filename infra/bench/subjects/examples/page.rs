//! One page, so many times as the first argument says: run twice under callgrind, the difference is what a page costs.

use std::hint::black_box;

use undercroft_subjects::Asked;

fn main() -> Result<(), undercroft::error::Source> {
    let times = std::env::args().nth(1).ok_or("how many pages?")?.parse::<usize>()?;
    let asked = Asked::new()?;
    for _ in 0..times {
        let page = asked.page().map_err(|error| format!("{error:?}"))?;
        assert!(page.len() > 5_000, "a page of {} bytes holds no {} records", page.len(), undercroft_subjects::PAGE);
        black_box(page);
    }
    Ok(())
}
