//! Kills of all sorts, shown in every form.

use std::time::Duration;

use proptest::option::of;
use proptest::prelude::*;
use reprieve_judgement::{FirstProcess, Identity, KillId, KillRecord, OomKind, Victim};
use reprieve_readings::{BootId, Bytes, CgroupPath, Limit, OomTrigger};

use super::*;

fn kill(name: Option<Vec<u8>>, path: Option<Vec<u8>>, amount: Option<u64>, killed_at: Duration) -> KillRecord {
    let bytes = amount.map(Bytes::new);
    let victim = name.as_ref().map(|name| Victim {
        pid: 7,
        name: name.clone(),
        command_line: path.clone(),
        uid: None,
        total_vm: bytes,
        anon_rss: bytes,
        file_rss: bytes,
        shmem_rss: bytes,
        pgtables: bytes,
        oom_score_adj: Some(-1000),
    });
    let cgroup = path.as_deref().map(CgroupPath::new);
    KillRecord {
        id: KillId(3),
        boot: BootId(1),
        since_boot: Duration::from_millis(1250),
        killed_at,
        sequence: amount,
        history: false,
        count: 1,
        repeats: 0,
        victim,
        identity: Identity::Exact,
        cgroup: cgroup.clone(),
        cgroup_certain: amount.is_some(),
        kind: OomKind::MemoryPolicy,
        whole_cgroup: cgroup.clone(),
        limited_cgroup: cgroup,
        limit: bytes.map(Limit::At),
        usage: bytes,
        usage_after: bytes,
        trigger: name.map(|name| OomTrigger {
            name,
            pid: None,
            gfp: vec![b'\n'],
            order: Some(-1),
            oom_score_adj: None,
        }),
        first_process: FirstProcess::Unknown,
    }
}

#[test]
fn a_time_beyond_all_calendars_is_shown_as_their_end() {
    let at = |killed_at| KillLine::of(&kill(None, None, None, killed_at)).killed_at;
    assert_eq!(at(Duration::ZERO), "1970-01-01T00:00:00.000Z");
    assert_eq!(at(Duration::MAX), "9999-12-31T23:59:59.999Z");
}

#[test]
fn what_would_act_on_a_terminal_is_no_kill() {
    let sound = KillLine::of(&kill(Some(b"a".to_vec()), None, None, Duration::ZERO));
    assert!(KillLine::parse(sound.to_json().as_bytes()).is_ok());
    let name = |name: &str| KillLine { name: Some(name.into()), ..sound.clone() }.to_json();
    assert!(KillLine::parse(name("a\u{1b}[31m").as_bytes()).is_err());
    assert!(KillLine::parse(name("a\u{202e}b").as_bytes()).is_err());
    assert!(KillLine::parse(name("a\\x1b[31m\\\\").as_bytes()).is_ok(), "escaped, it is harmless");
}

#[test]
fn amounts_take_six_columns() {
    for (bytes, shown) in [
        (0, "0"),
        (1023, "1023"),
        (1024, "1K"),
        (1536, "1.5K"),
        (250 << 20, "250M"),
        (1_048_000, "1023K"),
        (99 << 20, "99M"),
        (u64::MAX, "16E"),
    ] {
        let line = KillLine::of(&kill(Some(b"x".to_vec()), None, Some(bytes), Duration::ZERO));
        let row = KillTable::new(TableWidth::Columns(80)).line(&line);
        assert!(row.contains(&format!("{shown:>6} {shown:>6} policy")), "{row}");
    }
}

#[test]
fn a_sum_counts_kills_not_records() {
    let mut sum = KillSum::default();
    assert!(sum.is_empty());
    let named = KillLine::of(&kill(Some(b"x".to_vec()), None, None, Duration::ZERO));
    sum.add(&named);
    assert_eq!(sum.to_string(), "1 kill, 1 identified; 0 invisible to Kubernetes");
    sum.add(&KillLine { count: 4, name: None, pid: None, visibility: "invisible".into(), history: true, ..named });
    let lines: Vec<String> = sum.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "5 kills, 1 identified; 4 invisible to Kubernetes");
    assert_eq!(lines[1], "* 4 from before the agent counted: in no total");
}

fn any_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    of(prop_oneof!["\\PC{0,40}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..40)])
}

proptest! {
    #[test]
    fn parse_after_print_is_identity_and_nothing_acts(
        name in any_bytes(),
        path in any_bytes(),
        amount: Option<u64>,
        killed_at: Duration,
        columns in 0..200_usize,
        id in 0..1_000_000_000_000_u64,
    ) {
        let line = KillLine::of(&KillRecord { id: KillId(id), ..kill(name, path, amount, killed_at) });
        let json = line.to_json();
        prop_assert_eq!(&KillLine::parse(json.as_bytes()).unwrap(), &line);
        let narrow = KillTable::new(TableWidth::Columns(columns));
        let row = narrow.line(&line);
        let most = columns.max(80);
        prop_assert!(row.chars().count() <= most && narrow.heading().chars().count() <= most, "{row}");
        let wide = KillTable::new(TableWidth::Full).line(&line);
        prop_assert_eq!(wide.split('\t').count(), 11);
        let harmless = |text: &str| !text.chars().any(|character| character.is_control());
        prop_assert!(harmless(&json) && harmless(&row) && harmless(&wide.replace('\t', "")));
        prop_assert!(kill_details(&line).lines().all(harmless));
    }
}
