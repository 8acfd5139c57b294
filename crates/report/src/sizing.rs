//! What a sizing did and why, in lines for people.

use reprieve_judgement::{Advice, LeftAlone, Recognised, Setting, SettingChange, Sizing};
use reprieve_readings::{Bytes, Escaped};

/// Everything: the limit, what was recognised, what was set, what was left alone, and advice.
pub fn sizing_lines(sizing: &Sizing, limit: Bytes) -> Vec<String> {
    let mut lines = vec![format!("the memory limit is {limit}")];
    lines.extend(recognised_line(&sizing.recognised));
    lines.extend(sizing.settings.iter().map(setting_line));
    lines.extend(sizing.left.iter().map(left_line));
    lines.extend(sizing.advice.iter().map(advice_line));
    lines
}

/// The changes that no environment can carry, for those who only ask for variables.
pub fn argument_lines(sizing: &Sizing) -> Vec<String> {
    let of_command = |setting: &&Setting| matches!(setting.change, SettingChange::Arguments { .. });
    sizing
        .settings
        .iter()
        .filter(of_command)
        .map(|setting| format!("{}; no variable does it", setting_line(setting)))
        .collect()
}

fn recognised_line(recognised: &[Recognised]) -> Option<String> {
    let of_same = recognised.chunk_by(|one, other| one.by == other.by).map(|of_same| {
        let names: Vec<&str> = of_same.iter().map(|found| found.runtime.name()).collect();
        let by = of_same.first().map(|found| found.by.as_str()).unwrap_or_default();
        format!("{} ({by})", names.join(", "))
    });
    let of_same: Vec<String> = of_same.collect();
    (!of_same.is_empty()).then(|| format!("recognised {}", of_same.join(", ")))
}

fn setting_line(setting: &Setting) -> String {
    let (what, added) = match &setting.change {
        // Only our part: the user's may hold secrets, and reaches a log from here.
        SettingChange::Variable { name, added, .. } => (*name, added.clone()),
        SettingChange::Arguments { added, .. } => ("the command", added.join(" ")),
    };
    format!("{}: {what} gets {added}: {}", setting.runtime.name(), setting.reason)
}

fn left_line(left: &LeftAlone) -> String {
    format!("{}: left alone: {}", left.runtime.name(), Escaped(&left.reason))
}

fn advice_line(advice: &Advice) -> String {
    match advice.runtime {
        Some(runtime) => format!("{}: {}", runtime.name(), advice.text),
        None => advice.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use reprieve_judgement::Runtime;

    use super::*;

    #[test]
    fn every_part_has_its_line_and_secrets_none() {
        let name = "JAVA_TOOL_OPTIONS";
        let added = "-XX:MaxRAMPercentage=75.0".to_owned();
        let value = b"-Dpassword=secret -XX:MaxRAMPercentage=75.0".to_vec();
        let arguments = SettingChange::Arguments { at: 1, added: vec!["-c".into(), "shared_buffers=16MB".into()] };
        let setting = |runtime, change| Setting { runtime, change, reason: "so".into() };
        let sizing = Sizing {
            recognised: [(Runtime::Jvm, "its name"), (Runtime::Go, "why"), (Runtime::Node, "why")]
                .map(|(runtime, by)| Recognised { runtime, by: by.into() })
                .into(),
            settings: vec![
                setting(Runtime::Jvm, SettingChange::Variable { name, value, added }),
                setting(Runtime::Postgres, arguments),
            ],
            left: vec![LeftAlone { runtime: Runtime::Node, reason: b"NODE_OPTIONS has \x1b[2J\n".to_vec() }],
            advice: vec![
                Advice { runtime: Some(Runtime::PhpFpm), text: "do".into() },
                Advice { runtime: None, text: "go".into() },
            ],
        };
        assert_eq!(
            sizing_lines(&sizing, Bytes::from_mib(64)),
            [
                "the memory limit is 64.0 MiB",
                "recognised jvm (its name), go, node (why)",
                "jvm: JAVA_TOOL_OPTIONS gets -XX:MaxRAMPercentage=75.0: so",
                "postgres: the command gets -c shared_buffers=16MB: so",
                "node: left alone: NODE_OPTIONS has \\x1b[2J\\n",
                "php-fpm: do",
                "go",
            ]
        );
        assert_eq!(
            argument_lines(&sizing),
            ["postgres: the command gets -c shared_buffers=16MB: so; no variable does it"]
        );
    }
}
