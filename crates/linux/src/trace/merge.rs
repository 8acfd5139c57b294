//! Reading an instance: the pages of all processors, merged by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use std::vec;

use reprieve_readings::{TraceDecoder, TraceEvent};

use super::TraceDrain;
use super::instance::{Instance, Processor};

/// One processor's buffer on its way out: a page at a time, so that little is held.
struct Stream<'a> {
    processor: &'a Processor,
    pages_left: usize,
    events: vec::IntoIter<TraceEvent>,
}

/// The stream whose next event is the oldest comes first.
type Next = Reverse<(Duration, usize)>;

/// Reads what an instance holds and shows the events, oldest first.
pub(super) fn drain(
    instance: &Instance,
    decoder: &TraceDecoder,
    buffer: &mut [u8],
    mut visit: impl FnMut(TraceEvent),
) -> TraceDrain {
    let mut drained = TraceDrain::default();
    let mut read = |stream: &mut Stream<'_>, drained: &mut TraceDrain| stream.fill(instance, decoder, buffer, drained);
    let start = |processor| Stream { processor, pages_left: instance.pages(), events: Vec::new().into_iter() };
    let mut streams: Vec<Stream<'_>> = instance.processors().iter().map(start).collect();
    let mut order: BinaryHeap<Next> = BinaryHeap::new();
    for (index, stream) in streams.iter_mut().enumerate() {
        order.extend(read(stream, &mut drained).map(|time| Reverse((time, index))));
    }
    while let Some(Reverse((_, index))) = order.pop() {
        let Some(stream) = streams.get_mut(index) else { continue };
        if let Some(event) = stream.events.next() {
            drained.events += 1;
            visit(event);
        }
        order.extend(read(stream, &mut drained).map(|time| Reverse((time, index))));
    }
    drained
}

impl Stream<'_> {
    /// The time of the next event, after reading pages as needed.
    fn fill(
        &mut self,
        instance: &Instance,
        decoder: &TraceDecoder,
        buffer: &mut [u8],
        drained: &mut TraceDrain,
    ) -> Option<Duration> {
        while self.events.as_slice().is_empty() && self.pages_left > 0 {
            self.pages_left -= 1;
            match instance.read_page(self.processor, decoder, buffer) {
                Ok(Some(page)) => {
                    drained.lost.add(page.lost);
                    drained.unreadable = drained.unreadable.saturating_add(page.unreadable);
                    self.events = page.events.into_iter();
                }
                Ok(None) => self.pages_left = 0,
                Err(problem) => {
                    drained.problems.push(problem);
                    self.pages_left = 0;
                }
            }
        }
        self.events.as_slice().first().map(|event| event.time)
    }
}
