//! Prints how much memory is left to this process, by what, and how surely.
//!
//!     cargo run -p reprieve --example left
#![allow(clippy::print_stdout)]

use reprieve::{Binding, HiddenLimit, Memory};

fn main() -> Result<(), reprieve::Error> {
    let mut memory = Memory::here()?;
    match memory.limit().filter(|_| memory.is_limited()) {
        Some(limit) => println!("limit: {limit}"),
        None => println!("limit: none but the machine's memory"),
    }
    if let Some(available) = memory.available() {
        let left = available.until_kill.estimate;
        println!("left: {} (at least {}, at most {})", left.best, left.low, left.high);
        match available.until_kill.binding {
            Binding::Node => println!("bound by: the machine"),
            Binding::Level(up) => println!("bound by: the cgroup {up} levels up"),
            Binding::Hidden => println!("bound by: a cgroup that is hidden from here"),
        }
        if available.hidden == HiddenLimit::Possible {
            println!("hidden: levels above may have limits too");
        }
        if let Some(swap) = available.swap {
            println!("swap: {swap}");
        }
    }
    if let Some(pressure) = memory.pressure() {
        println!("pressure: {:.1} % of the last ten seconds", pressure.some.average_10s);
    }
    for problem in memory.problems().first() {
        eprintln!("{problem}");
    }
    Ok(())
}
