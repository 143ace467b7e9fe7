//! `portolan tag`: where a tag pointed.

use super::asked::Asked;
use super::terminal::{Colour, drawn, paint, table, tell, to_the_right};
use crate::ask::encode;
use crate::cli::TagHistoryArgs;
use crate::client::Client;
use crate::error::{Failure, UsageError};
use portolan_oci::Reference;
use portolan_registry::{ImageRef, TagHistory, TagMove};

/// Prints the moves of a tag.
///
/// # Errors
/// When there never was such a tag, or the node does not answer.
pub(crate) async fn history(args: &TagHistoryArgs) -> Result<(), Failure> {
    let mut asked = Asked::new(&args.tag, &args.ask)?;
    if matches!(asked.image.reference, Reference::Digest(_)) {
        return Err(Failure::Usage(UsageError::TagRef { reference: args.tag.clone() }));
    }
    let report = asked.ask(async |client: &Client, image: &ImageRef| {
        client.report::<TagHistory>(&format!("/api/v1/history?image={}", encode(&image.to_string()))).await
    });
    Ok(tell(&report.await?, args.ask.json, render)?)
}

/// The history as a text of several lines.
fn render(history: &TagHistory) -> String {
    let now = match history.moves.first().map(|newest| newest.digest) {
        Some(None) => "   removed",
        _ => "",
    };
    let mut rows = table(&["REVISION", "WHEN", "DIGEST", "BY", ""]);
    for (at, told) in history.moves.iter().enumerate() {
        rows.add_row(row(told, at == 0));
    }
    to_the_right(&mut rows, [0]);
    let mut text = format!("{}:{}{now}\n\n{}", history.repository, history.tag, drawn(&rows));
    if history.truncated {
        text.push_str(&format!("\n\n{} {}", paint("note:", Colour::Strong), forgotten(history)));
    }
    text
}

/// A move, and whether the tag points there now.
fn row(told: &TagMove, is_newest: bool) -> [String; 5] {
    let current = if is_newest && told.digest.is_some() { "current" } else { "" };
    [
        told.revision.to_string(),
        when(&told.at),
        told.digest.map_or_else(|| "(removed)".to_owned(), |digest| digest.to_string()),
        told.by.clone(),
        current.to_owned(),
    ]
}

/// How many moves are forgotten. They are counted without gaps, so that the oldest that is known tells it.
fn forgotten(history: &TagHistory) -> String {
    match history.moves.last().map_or(0, |oldest| oldest.revision.saturating_sub(1)) {
        1 => "1 older move is forgotten".to_owned(),
        moves => format!("{moves} older moves are forgotten"),
    }
}

/// A date and time to the second, without the letters that programs need. Whatever is none is shown as it is.
fn when(at: &str) -> String {
    let Some((date, time)) = at.strip_suffix('Z').and_then(|at| at.split_once('T')) else { return at.to_owned() };
    let seconds = time.split_once('.').map_or(time, |(seconds, _)| seconds);
    format!("{date} {seconds} UTC")
}

#[cfg(test)]
mod tests {
    use super::{render, when};
    use portolan_oci::Digest;
    use portolan_registry::{TagHistory, TagMove};

    fn told(revision: u64, digest: Option<Digest>, by: &str) -> TagMove {
        TagMove { revision, digest, by: by.to_owned(), at: format!("2025-11-21T11:20:{revision:02}.999Z") }
    }

    fn history(moves: Vec<TagMove>, truncated: bool) -> TagHistory {
        TagHistory { repository: "team/app".to_owned(), tag: "v1".to_owned(), moves, truncated }
    }

    /// Without the spaces at the end of lines.
    fn trimmed(text: &str) -> String {
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_move_is_a_line_and_the_current_one_is_marked() {
        let digest = Digest::sha256_of(b"x");
        let moves =
            vec![told(10, Some(digest), "admin"), told(9, None, "anonymous"), told(8, Some(digest), "anonymous")];
        let want = format!(
            "\
team/app:v1

 REVISION  WHEN                     DIGEST                                                                   BY
       10  2025-11-21 11:20:10 UTC  {digest}  admin      current
        9  2025-11-21 11:20:09 UTC  (removed)                                                                anonymous
        8  2025-11-21 11:20:08 UTC  {digest}  anonymous

note: 7 older moves are forgotten"
        );
        assert_eq!(trimmed(&render(&history(moves, true))), want);
    }

    #[test]
    fn a_tag_that_was_removed_has_no_current_move() {
        let moves = vec![told(2, None, "anonymous"), told(1, Some(Digest::sha256_of(b"x")), "anonymous")];
        let text = render(&history(moves, false));
        assert!(text.starts_with("team/app:v1   removed\n"), "{text}");
        assert!(!text.contains("current") && !text.contains("forgotten"), "{text}");
        let text = render(&history(vec![told(2, None, "anonymous")], true));
        assert!(text.ends_with("note: 1 older move is forgotten"), "{text}");
    }

    #[test]
    fn a_moment_is_shown_to_the_second_and_what_is_none_as_it_is() {
        for (at, want) in [
            ("2025-11-21T11:20:31.999Z", "2025-11-21 11:20:31 UTC"),
            ("2025-11-21T11:20:31Z", "2025-11-21 11:20:31 UTC"),
            ("2025-11-21T11:20:31+01:00", "2025-11-21T11:20:31+01:00"),
            ("soon", "soon"),
            ("", ""),
        ] {
            assert_eq!(when(at), want);
        }
    }
}
