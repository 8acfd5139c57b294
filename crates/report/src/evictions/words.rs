//! Names, amounts and times as the screens write them.

use std::time::Duration;

use reprieve_judgement::{Evictions, Forecast};
use reprieve_readings::{Bytes, CgroupPath, Escaped, Owner};

/// A difference with its sign.
pub(super) fn signed(difference: i128) -> String {
    let sign = if difference < 0 { "-" } else { "+" };
    let amount = Bytes::new(u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX));
    format!("{sign}{amount}")
}

/// A time, to two places.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

pub(super) fn forecast(forecast: Forecast) -> String {
    match forecast {
        Forecast::Unknown => "not known".to_owned(),
        Forecast::None => "none".to_owned(),
        Forecast::Now => "now".to_owned(),
        Forecast::In { best, .. } => time(best),
    }
}

/// The range of a forecast.
pub(super) fn range(forecast: Forecast) -> Option<String> {
    match forecast {
        Forecast::In { soonest, latest: Some(latest), .. } => Some(format!("{} to {}", time(soonest), time(latest))),
        Forecast::In { soonest, latest: None, .. } => Some(format!("{} or later", time(soonest))),
        _ => None,
    }
}

/// What people call a cgroup: its pod and the begin of its container's id, its unit, or its path.
pub(super) fn name(path: &CgroupPath, owner: &Owner, evictions: &Evictions) -> String {
    let pod = owner.pod.as_ref().map(|uid| {
        let known = evictions.pods.iter().find(|ranked| ranked.pod.uid == uid.as_str());
        let name = known.and_then(|ranked| ranked.pod.name.as_deref());
        name.map_or_else(|| format!("pod {uid}"), |name| Escaped(name.as_bytes()).to_string())
    });
    let container = owner.container.as_ref().map(|id| id.as_str().chars().take(12).collect::<String>());
    match (pod, container) {
        (Some(pod), Some(container)) => format!("{pod} {container}"),
        (None, Some(container)) => format!("container {container}"),
        (Some(pod), None) => pod,
        (None, None) => path.to_string(),
    }
}

/// Cuts what is too wide for its column, in the middle: both ends of a path tell most.
pub(super) fn fit(text: &str, width: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= width {
        return text.to_owned();
    }
    let tail = width / 2;
    let head = width.saturating_sub(tail + 1);
    let ends = characters.iter().take(head).chain(std::iter::once(&'…'));
    ends.chain(characters.iter().skip(characters.len().saturating_sub(tail))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_short() {
        assert_eq!(signed(-(5 << 20)), "-5.0 MiB");
        assert_eq!(signed(1024), "+1.0 KiB");
        assert_eq!(time(Duration::from_millis(250)), "250 ms");
        assert_eq!(time(Duration::from_secs(119)), "119 s");
        assert_eq!(time(Duration::from_secs(7199)), "119 min");
        assert_eq!(fit("/a/long/path", 7), "/a/…ath");
        assert_eq!(fit("größe", 5), "größe");
    }
}
