//! The body of a change: JSON of bounded length, read as strictly as it is described.

use crate::errors::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// The longest body: settings are a few lines.
const BODY_BYTES: usize = 64 * 1024;

/// Below it every whole number is exact in a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a body says. A client that falls silent is not waited for.
pub(crate) async fn said<T: DeserializeOwned + Serialize>(body: Body, idle_ms: u64) -> Result<T, ApiError> {
    let whole = timeout(Duration::from_millis(idle_ms), Limited::new(body, BODY_BYTES).collect()).await;
    let bytes: Bytes = match whole {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(ApiError::BodyTooLong { limit: BODY_BYTES }),
        Ok(Err(error)) => return Err(ApiError::BodyBroken(error)),
        Err(_) => return Err(ApiError::BodySilent { idle_ms }),
    };
    read(&bytes)
}

/// JSON as a type that is written again as it was read. Records are objects: serde would take lists of their fields too.
fn read<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut said: Value = serde_json::from_slice(bytes)?;
    whole_numbers(&mut said);
    let taken: T = serde_json::from_value(said.clone())?;
    if is_record(&said, &serde_json::to_value(&taken)?) {
        Ok(taken)
    } else {
        Err(serde_json::Error::custom("a list stands where an object with named fields is expected").into())
    }
}

/// JSON knows one kind of number: 2.0 is 2.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..EXACT).contains(float))
                && number.is_f64()
            {
                *value = Value::from(float as u64);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Whether every object of what was taken was an object in what was said.
fn is_record(said: &Value, taken: &Value) -> bool {
    match (said, taken) {
        (Value::Object(said), Value::Object(taken)) => {
            said.iter().all(|(name, said)| taken.get(name).is_some_and(|taken| is_record(said, taken)))
        }
        (_, Value::Object(_)) => false,
        // A set may be shorter than the list that it was made of, and has another order; nothing in it is an object.
        (Value::Array(said), Value::Array(taken)) if said.len() == taken.len() => {
            said.iter().zip(taken).all(|(said, taken)| is_record(said, taken))
        }
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::read;
    use portolan_registry::{Bandwidth, RepoSettings};

    #[test]
    fn a_record_is_an_object_and_a_whole_number_is_one_however_it_is_written() {
        for (text, want) in [
            ("{}", true),
            ("{\"copies\": 2.0, \"tag_reads\": {\"bounded_ms\": 5.0}}", true),
            ("{\"ack\": {\"regions\": 2, \"copies\": 1}, \"regions\": {\"only\": [\"us\", \"eu\", \"us\"]}}", true),
            ("{\"copies\": 2.5}", false),
            ("{\"copies\": -1.0}", false),
            ("[]", false),
            ("[null, null]", false),
            ("{\"ack\": [2, 1]}", false),
            ("null", false),
            ("{\"copies\": 1}}", false),
        ] {
            assert_eq!(read::<RepoSettings>(text.as_bytes()).is_ok(), want, "{text}");
        }
        for (text, want) in [
            ("{\"limits\": [{\"bytes_per_second\": 5.0}]}", true),
            ("{\"limits\": [[null, null, null, 5]]}", false),
            ("[[]]", false),
        ] {
            assert_eq!(read::<Bandwidth>(text.as_bytes()).is_ok(), want, "{text}");
        }
    }
}
