//! Where an image is, and waiting until it is where somebody needs it.

use crate::call::Call;
use crate::errors::ApiError;
use crate::listing::marked;
use axum::body::Body;
use http::{Response, StatusCode};
use portolan_registry::ImageRef;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long is waited for an image unless the caller says how long.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a caller may ask to wait.
const LONGEST: Duration = Duration::from_secs(3600);

/// `GET /api/v1/replication?image=REF`.
pub(crate) async fn status(call: Call) -> Result<Response<Body>, ApiError> {
    let image = image(&call)?;
    let answer = call.registry.image_status(&image).await?;
    Ok(marked(&answer.report, answer.stale))
}

/// `GET /api/v1/wait?image=REF[&regions=a,b][&timeout=60s]`: 200 once it is there, 408 when it is not in time; both tell
/// what is where.
pub(crate) async fn wait(call: Call) -> Result<Response<Body>, ApiError> {
    let (image, regions, timeout) = (image(&call)?, regions(&call), timeout(&call)?);
    let _place = call.transfers.waits.take()?;
    let answer = call.registry.wait_for_image(&image, regions, Instant::now() + timeout).await?;
    let mut response = marked(&answer.report, answer.stale);
    if !answer.report.done {
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
    }
    Ok(response)
}

/// The image that a query names.
pub(crate) fn image(call: &Call) -> Result<ImageRef, ApiError> {
    let missing = || ApiError::Query { key: "image", reason: "is missing: give repository:tag".to_owned() };
    Ok(call.query.get("image").filter(|image| !image.is_empty()).ok_or_else(missing)?.parse()?)
}

/// The regions that are named, in one list or in several.
fn regions(call: &Call) -> BTreeSet<String> {
    let lists = call.query.all("regions").flat_map(|list| list.split(','));
    lists.map(str::trim).filter(|region| !region.is_empty()).map(str::to_owned).collect()
}

fn timeout(call: &Call) -> Result<Duration, ApiError> {
    let Some(text) = call.query.get("timeout") else { return Ok(TIMEOUT) };
    match duration(text) {
        Some(timeout) if timeout <= LONGEST => Ok(timeout),
        _ => {
            let shown: String = text.chars().take(32).collect();
            let reason = format!("is {shown:?}: give a whole number with ms, s, m or h, at most 1h, and ask again");
            Err(ApiError::Query { key: "timeout", reason })
        }
    }
}

/// A time as people write it: a whole number with `ms`, `s`, `m` or `h`. The command line takes the same.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(unit_ms)))
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        for (text, ms) in [
            ("0s", Some(0)),
            ("250ms", Some(250)),
            ("60s", Some(60_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("99999999999999999h", Some(u64::MAX)),
            ("999999999999999999999h", None),
            ("60", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1d", None),
            ("", None),
        ] {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text:?}");
        }
    }
}
