//! The kernel's trace: pages of its ring buffer, and the descriptions of what is in them.

use reprieve_readings::{TraceDecoder, TraceEventKind, Tracepoint};

use crate::assert_harmless;

const HEADER_PAGE: &[u8] = include_bytes!("../../fixtures/trace-6.18/header_page");
const KILL_PAGE: &[u8] = include_bytes!("../../fixtures/trace-6.18/kill.page");
const FORMATS: [(Tracepoint, &[u8]); 3] = [
    (Tracepoint::MarkVictim, include_bytes!("../../fixtures/trace-6.18/mark_victim.format")),
    (Tracepoint::CgroupAttachTask, include_bytes!("../../fixtures/trace-6.18/cgroup_attach_task.format")),
    (Tracepoint::TaskNewtask, include_bytes!("../../fixtures/trace-6.18/task_newtask.format")),
];

/// A page, in the formats of Linux 6.18.
pub fn trace_page(input: &[u8]) {
    let Ok(mut decoder) = TraceDecoder::new(HEADER_PAGE) else { unreachable!("the head of a page is described") };
    for (tracepoint, format) in FORMATS {
        assert_eq!(decoder.add(tracepoint, format), Ok(()));
    }
    let page = decoder.page(input);
    assert!(page.events.len() as u64 + page.unreadable <= input.len() as u64 / 4 + 1);
    for event in page.events {
        assert_possible(&event.kind, input);
    }
}

/// The head of a page or the format of an event.
pub fn trace_format(input: &[u8]) {
    for head in [input, HEADER_PAGE] {
        let Ok(mut decoder) = TraceDecoder::new(head) else { continue };
        for (tracepoint, format) in FORMATS {
            for format in [input, format] {
                if let Err(error) = decoder.add(tracepoint, format) {
                    assert_harmless(&error.to_string());
                }
            }
        }
        decoder.page(KILL_PAGE).events.iter().for_each(|event| assert_possible(&event.kind, KILL_PAGE));
    }
}

/// Nothing is told that isn't in the page, and no task has the id 0.
fn assert_possible(event: &TraceEventKind, page: &[u8]) {
    match event {
        TraceEventKind::MarkVictim(victim) => {
            assert!(victim.pid != 0);
            assert!(victim.name.as_ref().is_none_or(|name| name.len() < page.len() && !name.contains(&0)));
        }
        TraceEventKind::CgroupAttach { pid, path, .. } => {
            assert!(*pid != 0 && path.as_bytes().len() < page.len() && !path.as_bytes().contains(&0));
            assert_harmless(&path.to_string());
        }
        TraceEventKind::Fork { parent, child, .. } => assert!(*parent != 0 && *child != 0),
    }
}
