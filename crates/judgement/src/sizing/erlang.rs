//! Erlang sees the host: it makes its table of ports (sockets and files) as large as the limit on open files, which
//! container engines set to a billion, and then the table alone is gigabytes.
//!
//! `+Q NUMBER` in `ERL_AFLAGS` bounds the table. `erl` puts that variable at the beginning of its command line, so that
//! a release's `vm.args` wins over it (erl(1)); ours goes before the user's part, which may end in `-extra`. The high
//! watermark of RabbitMQ has no variable of its own any more (its image refuses `RABBITMQ_VM_MEMORY_HIGH_WATERMARK`
//! since 3.9), and one given on the command line would win over `rabbitmq.conf`; so it is only advised.

use reprieve_readings::Bytes;

use super::runtime::Runtime;
use super::sizer::{Join, Sizer};

const RUNTIME: Runtime = Runtime::Erlang;
/// A system without applications takes about this much.
const LEAST: Bytes = Bytes::from_mib(32);
/// What Erlang takes itself where it does not know the limit on open files.
const FEWEST_PORTS: u64 = 65_536;
/// The most that `+Q` accepts.
const MOST_PORTS: u64 = 134_217_727;
/// No open socket takes less than this, with its process and the kernel's buffers.
const BYTES_PER_PORT: u64 = 8 * 1024;

pub(super) fn size(sizer: &mut Sizer<'_>) {
    const VARIABLES: [&str; 3] = ["ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS"];
    advise_rabbitmq(sizer);
    let set_in_command = sizer.is_argument_set(RUNTIME, sizes_ports);
    if set_in_command
        || sizer.is_word_set(RUNTIME, &VARIABLES, sizes_ports)
        || sizer.is_variable_set(RUNTIME, "ERL_MAX_PORTS")
        || !sizer.is_enough(RUNTIME, LEAST)
    {
        return;
    }
    let ports = (sizer.limit.get() / BYTES_PER_PORT).clamp(FEWEST_PORTS, MOST_PORTS);
    let reason = format!("a table for as many ports as {} can hold, not for all files the host allows", sizer.limit);
    sizer.add(RUNTIME, "ERL_AFLAGS", format!("+Q {ports}"), Join::Before(" "), reason);
}

fn sizes_ports(flag: &[u8]) -> bool {
    flag.starts_with(b"+Q")
}

fn advise_rabbitmq(sizer: &mut Sizer<'_>) {
    if sizer.program.steps.iter().any(|step| step.name().starts_with(b"rabbitmq")) {
        let watermark = sizer.share(60).get() >> 20;
        sizer.advise(
            Some(RUNTIME),
            format!("put vm_memory_high_watermark.absolute = {watermark}MiB into rabbitmq.conf: 60 % of the limit"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, GIB};
    use super::*;

    #[test]
    fn ports_are_as_many_as_memory_can_hold() {
        Case::new("erl -noshell").limit(GIB).sets("ERL_AFLAGS", "+Q 131072");
        Case::new("iex").limit(64 << 20).sets("ERL_AFLAGS", "+Q 65536");
        Case::new("iex").limit(1 << 40).sets("ERL_AFLAGS", "+Q 134217727");
        Case::new("iex").limit(1 << 20).advises("below the 32.0 MiB").sets_nothing("ERL_AFLAGS");
        let case = Case::new("iex").limit(GIB).env("ERL_AFLAGS", "-kernel shell_history enabled -extra x");
        case.sets("ERL_AFLAGS", "+Q 131072 -kernel shell_history enabled -extra x");
    }

    #[test]
    fn ports_of_the_user_s_are_left_alone() {
        Case::new("erl +Q 1024").limit(GIB).leaves(RUNTIME).sets_nothing("ERL_AFLAGS");
        for variable in ["ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS"] {
            Case::new("erl").limit(GIB).env(variable, "+S 2 +Q 1024").leaves(RUNTIME).sets_nothing("ERL_AFLAGS");
        }
        Case::new("erl").limit(GIB).env("ERL_MAX_PORTS", "1024").leaves(RUNTIME).sets_nothing("ERL_AFLAGS");
    }

    #[test]
    fn rabbitmq_s_watermark_is_advised() {
        let case = Case::new("rabbitmq-server").limit(GIB);
        case.advises("vm_memory_high_watermark.absolute = 614MiB").sets("ERL_AFLAGS", "+Q 131072");
    }
}
