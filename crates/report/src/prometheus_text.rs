//! From OpenMetrics to the older Prometheus text format.
//!
//! The client library writes OpenMetrics only. The formats differ in the comment lines: in the older one a counter's
//! family is called by the full name of its samples (`…_total`), infos are gauges, and there is neither `# UNIT` nor
//! `# EOF`. Samples are the same.

/// Rewrites an OpenMetrics exposition as Prometheus text 0.0.4.
pub(crate) fn from_open_metrics(exposition: &str) -> String {
    let mut text = String::with_capacity(exposition.len());
    let mut help = None;
    for line in exposition.split_inclusive('\n') {
        if let Some(named) = line.strip_prefix("# HELP ") {
            // It can be written only once the type is known, which follows.
            help = named.split_once(' ');
        } else if let Some(named) = line.strip_prefix("# TYPE ") {
            write_family(&mut text, named.trim_end(), help.take());
        } else if !line.starts_with("# ") {
            text.push_str(line);
        }
    }
    text
}

fn write_family(text: &mut String, named: &str, help: Option<(&str, &str)>) {
    let Some((name, kind)) = named.split_once(' ') else { return };
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        other => ("", other),
    };
    if let Some((_, help)) = help {
        text.extend(["# HELP ", name, suffix, " ", help]);
    }
    text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comment_lines_are_rewritten_and_samples_are_not() {
        let open_metrics = "# HELP x_kills Kills\n# TYPE x_kills counter\nx_kills_total{a=\"# TYPE\"} 1\n\
                            # HELP x Which\n# TYPE x info\nx_info{a=\"b\"} 1\n\
                            # HELP u_bytes Use\n# TYPE u_bytes gauge\n# UNIT u_bytes bytes\nu_bytes 3\n# EOF\n";
        let text = "# HELP x_kills_total Kills\n# TYPE x_kills_total counter\nx_kills_total{a=\"# TYPE\"} 1\n\
                    # HELP x_info Which\n# TYPE x_info gauge\nx_info{a=\"b\"} 1\n\
                    # HELP u_bytes Use\n# TYPE u_bytes gauge\nu_bytes 3\n";
        assert_eq!(from_open_metrics(open_metrics), text);
    }
}
