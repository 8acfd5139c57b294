//! Reads whole logs.

use reprieve_readings::{OomLogEvent, OomLogReader, OomLogReport, OtherKill};

pub(crate) fn events(log: &[u8]) -> Vec<OomLogEvent> {
    events_in_chunks(log, log.len().max(1))
}

pub(crate) fn events_in_chunks(log: &[u8], size: usize) -> Vec<OomLogEvent> {
    let mut events = Vec::new();
    let mut reader = OomLogReader::new();
    log.chunks(size).for_each(|chunk| reader.feed(chunk, |event| events.push(event)));
    reader.finish(|event| events.push(event));
    events
}

pub(crate) fn reports(log: &[u8]) -> Vec<OomLogReport> {
    let reports = events(log).into_iter().filter_map(|event| match event {
        OomLogEvent::Report(report) => Some(*report),
        OomLogEvent::OtherKill(_) => None,
    });
    reports.collect()
}

pub(crate) fn other_kills(log: &[u8]) -> Vec<OtherKill> {
    let kills = events(log).into_iter().filter_map(|event| match event {
        OomLogEvent::OtherKill(kill) => Some(kill),
        OomLogEvent::Report(_) => None,
    });
    kills.collect()
}
