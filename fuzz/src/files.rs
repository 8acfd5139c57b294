//! The kernel's small files: of a cgroup, of the machine, of a process.

use reprieve_readings::{
    Bytes, CgroupMemory, CgroupPath, CgroupVersion, Limit, Meminfo, MemoryFile, MemoryStat, ParseError, ProcessName,
    ProcessStat, Signal, SignalSets, parse_cgroup_procs, parse_cpu_list, parse_iomem_ram, parse_is_namespace_init,
    parse_newest_generations, parse_quantity, parse_resident, parse_vmstat_oom_kill,
};

use crate::assert_harmless;

/// A file that holds one amount or limit; an amount as people write it.
pub fn amounts(input: &[u8]) {
    let amount = Bytes::parse(input);
    if let Ok(Limit::At(bytes)) = Limit::parse_v1(input) {
        assert_eq!(amount, Ok(bytes));
    }
    match Limit::parse_v2(input) {
        Ok(Limit::At(bytes)) => assert_eq!(amount, Ok(bytes)),
        Ok(Limit::Max) => assert!(amount.is_err()),
        Err(error) => assert_harmless(&error.to_string()),
    }
    // Whatever is a bare number is a quantity too, and the same.
    match (amount.clone(), parse_quantity(input)) {
        (Ok(bytes), quantity) => assert_eq!(quantity, Ok(bytes)),
        (Err(_), Ok(_)) => {}
        (Err(_), Err(error)) => assert_harmless(&error.to_string()),
    }
    if let Ok(bytes) = amount {
        assert_eq!(Bytes::parse(bytes.get().to_string().as_bytes()), Ok(bytes));
        assert_harmless(&bytes.to_string());
    }
}

/// The generations of the multi-generational LRU, and the machine's memory.
pub fn lru_generations(input: &[u8]) {
    let newest = parse_newest_generations(input, &CgroupPath::new(b"/kubepods/a"));
    assert!(newest.windows(2).all(|pair| matches!(pair, [one, other] if one.memcg == other.memcg)), "{newest:?}");
    assert!(parse_iomem_ram(input).iter().all(|(start, end)| start < end));
}

/// Any file of a cgroup's memory, whatever its name: each parser must cope with each text.
pub fn memory_files(input: &[u8]) {
    for version in [CgroupVersion::V1, CgroupVersion::V2] {
        for file in MemoryFile::all(version) {
            let mut memory = CgroupMemory::default();
            match (file.apply)(input, &mut memory) {
                Ok(()) => assert_ne!(memory, CgroupMemory::default(), "{} was read, and told nothing", file.name),
                Err(error) => {
                    assert_eq!(memory, CgroupMemory::default(), "{} left something of an error", file.name);
                    assert_harmless(&error.to_string());
                }
            }
            assert_consistent(&memory);
        }
    }
}

fn assert_consistent(memory: &CgroupMemory) {
    if let Some(pressure) = memory.pressure {
        for stall in [Some(pressure.some), pressure.full].into_iter().flatten() {
            let averages = [stall.average_10s, stall.average_60s, stall.average_300s];
            assert!(averages.iter().all(|average| (0.0..=100.0).contains(average)), "{stall:?}");
        }
    }
    let reclaimable = memory.stat.as_ref().and_then(MemoryStat::reclaimable);
    assert!(reclaimable.is_none() || memory.stat.is_some_and(|stat| stat.active_file.is_some()));
}

/// `/proc/meminfo` and `/proc/vmstat`; a list of processors.
pub fn node_memory(input: &[u8]) {
    match Meminfo::parse(input) {
        Ok(meminfo) => assert!(meminfo.total.is_some()),
        Err(error) => assert_harmless(&error.to_string()),
    }
    shown(parse_vmstat_oom_kill(input));
    shown(parse_cpu_list(input));
}

/// `/proc/PID/stat`, `status` and `statm`, and `cgroup.procs`; signals as people write them.
pub fn process(input: &[u8]) {
    if let Some(stat) = shown(ProcessStat::parse(input)) {
        assert!(input.starts_with(stat.id.pid.to_string().as_bytes()) || input.starts_with(b"0"));
        assert!(stat.name.len() < input.len());
    }
    if let Some(pids) = shown(parse_cgroup_procs(input)) {
        assert!(!pids.contains(&0) && pids.len() <= input.len());
    }
    parse_is_namespace_init(input);
    if let Some(signal) = shown(Signal::parse(input)) {
        assert!(Signal::new(signal.number()) == Some(signal));
    }
    shown(SignalSets::parse(input));
    shown(parse_resident(input, Bytes::from_kib(4)));
    ProcessStat::parse_ending_signal(input);
    assert!(ProcessName::new(input).as_bytes().len() <= 15);
}

fn shown<T>(result: Result<T, ParseError>) -> Option<T> {
    result.inspect_err(|error| assert_harmless(&error.to_string())).ok()
}
