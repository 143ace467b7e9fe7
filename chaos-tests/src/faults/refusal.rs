//! Whether a node that ended did so because it saw what is wrong with its disk, and said so. A crash is no refusal.

/// The exit codes of a node that ends on purpose: what failed, and what an operator has to set right.
const ON_PURPOSE: [i32; 2] = [1, 2];

/// How it ended, in words, when it ended on purpose and an error in its log has one of these reasons; else why that is no
/// refusal. The code is missing where a signal ended it.
pub(super) fn refusal(code: Option<i32>, logs: &str, reasons: &[&str]) -> Result<String, String> {
    let how = code.map_or_else(|| "by a signal".to_owned(), |code| format!("exit {code}"));
    let mut errors = logs.lines().filter(|line| line.contains(r#""level":"ERROR""#));
    let names = |line: &str| reasons.iter().any(|reason| line.contains(reason));
    if code.is_none_or(|code| !ON_PURPOSE.contains(&code)) {
        return Err(format!("it crashed ({how}); its last error: {}", errors.next_back().unwrap_or("none")));
    }
    if errors.clone().any(names) {
        return Ok(how);
    }
    Err(format!("it ended ({how}) and did not say why; its last error: {}", errors.next_back().unwrap_or("none")))
}

#[cfg(test)]
mod tests {
    use super::refusal;

    const CORRUPT: &str = r#"{"level":"ERROR","message":"the node ends","error":"the raft database is corrupt: x"}"#;

    #[test]
    fn only_an_end_on_purpose_with_an_error_that_names_the_reason_is_a_refusal() {
        let of = |code, logs: &str| refusal(code, logs, &["is corrupt", "is gone"]);
        assert_eq!(of(Some(1), &format!("{CORRUPT}\nmore")), Ok("exit 1".to_owned()));
        assert_eq!(of(Some(2), CORRUPT), Ok("exit 2".to_owned()));
        for (code, logs, why) in [
            (None, CORRUPT, "crashed (by a signal)"),
            (Some(101), CORRUPT, "crashed (exit 101)"),
            (Some(0), CORRUPT, "crashed (exit 0)"),
            (Some(1), "", "did not say why; its last error: none"),
            (Some(1), &CORRUPT.replace("is corrupt", "is taken"), "is taken"),
            (Some(1), &CORRUPT.replace("ERROR", "WARN"), "did not say why"),
        ] {
            let refused = of(code, logs);
            assert!(refused.as_ref().is_err_and(|error| error.contains(why)), "{refused:?} without {why:?}");
        }
    }
}
