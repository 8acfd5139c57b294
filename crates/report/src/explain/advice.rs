//! Advice as sentences.

use reprieve_judgement::OomAdvice;
use reprieve_readings::{Bytes, Escaped};

/// One piece of advice.
pub(super) fn sentence(advice: &OomAdvice) -> String {
    let now = |limit: &Option<Bytes>| limit.map(|limit| format!(" (now {limit})")).unwrap_or_default();
    match advice {
        OomAdvice::SizeRuntime { name } => format!(
            "Tell the limit to the runtime of {0}: `reprieve exec -- {0} …`. It then keeps below the limit, or ends with \
             an error that says what was too large.",
            Escaped(name)
        ),
        OomAdvice::RaiseContainerLimit { limit } => {
            format!("Find out what grows, or raise the limit{}: it was reached.", now(limit))
        }
        OomAdvice::RaisePodLimit { limit } => format!(
            "The containers of the pod need more together than the pod's limit{}. Raise it, or lower theirs so that \
             they add up to less.",
            now(limit)
        ),
        OomAdvice::RaiseAncestorLimit { limit } => format!(
            "The limit further up{} is too small for all that is inside: raise it, or move something out.",
            now(limit)
        ),
        OomAdvice::RaiseSwapLimit => {
            "The limit on memory and swap together was hit: raising the one on memory alone changes nothing.".to_owned()
        }
        OomAdvice::FewerWorkers { name, count } => {
            format!("Run fewer of {} (there were {count}), or give them more memory.", Escaped(name))
        }
        OomAdvice::LimitTmpfs { bytes } => format!(
            "Delete files in tmpfs (/dev/shm, /tmp, an emptyDir with medium Memory), which hold {bytes}, and give it a \
             size limit."
        ),
        OomAdvice::LookAtSlab { name, bytes } => {
            let largest = match (name, bytes) {
                (Some(name), Some(bytes)) => format!(" The largest is {} with {bytes}.", Escaped(name)),
                _ => String::new(),
            };
            format!("Look for a leak in the kernel or a driver with slabtop.{largest}")
        }
        OomAdvice::UseHugePages => {
            "Many processes map much shared memory: huge pages make their page tables smaller.".to_owned()
        }
        OomAdvice::SetNodeLimits => {
            "Give everything on this machine a limit, and let the limits add up to less than its memory.".to_owned()
        }
        OomAdvice::AllowMoreNodes => {
            "Allow more memory nodes (cpuset.mems, numactl): others may have had memory left.".to_owned()
        }
        OomAdvice::AskWhoPressed => "Ask who sent SysRq f; nothing had to be out of memory.".to_owned(),
        OomAdvice::CheckScoreAdjustment => {
            "If another process should go first, change the oom_score_adj of either (the kubelet sets it by QoS class)."
                .to_owned()
        }
        OomAdvice::CacheWasLeft { bytes } => format!(
            "{bytes} of page cache were left, which the kernel could not take in time: look for a slow disk, dirty pages, \
             or files that are in constant use."
        ),
        OomAdvice::RestartUnseen => {
            "Check that the container still does its work: restart it if not, since Kubernetes won't.".to_owned()
        }
        OomAdvice::CheckPanicSetting => "See whether vm.panic_on_oom should be set here.".to_owned(),
        OomAdvice::KeepTaskTable => "Set vm.oom_dump_tasks to 1, to be told of all processes next time.".to_owned(),
    }
}
