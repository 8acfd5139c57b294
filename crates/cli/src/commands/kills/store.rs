//! Reading what the last agent stored.

use std::path::Path;

use reprieve_agent::KillRequest;
use reprieve_judgement::KillId;
use reprieve_report::KillLine;
use reprieve_store::{StoreError, open_read_only};

use super::output::Output;

/// Kills that are read at once.
const PAGE: usize = 1000;

/// Reads all kills first and shows them then: an agent that begins must not wait for whoever reads our output.
pub(super) fn read(directory: &Path, request: &KillRequest, output: &mut Output) -> Result<(), StoreError> {
    let mut lines = Vec::new();
    let mut unreadable = 0;
    {
        let reader = open_read_only(directory)?;
        let mut after = request.id.map_or(KillId(0), |id| KillId(id.0.saturating_sub(1)));
        loop {
            let page = reader.page(after, if request.id.is_some() { 1 } else { PAGE })?;
            unreadable += page.unreadable;
            let wanted = page
                .records
                .into_iter()
                .filter(|record| request.id.is_none_or(|id| id == record.id) && request.filter.takes(record));
            lines.extend(wanted.map(|record| KillLine::of(&record)));
            match page.next.filter(|_| request.id.is_none()) {
                Some(next) => after = next,
                None => break,
            }
        }
    }
    output.found(lines, unreadable);
    Ok(())
}
