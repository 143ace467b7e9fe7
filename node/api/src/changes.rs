//! The body of a change: JSON of bounded length.

use crate::errors::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portolan_registry::{BodyError, RegistryError};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// The longest body: settings are a few lines.
const BODY_BYTES: usize = 64 * 1024;

/// What a body says. A client that falls silent is not waited for.
pub(crate) async fn said<T: DeserializeOwned>(body: Body, idle_ms: u64) -> Result<T, ApiError> {
    let whole = timeout(Duration::from_millis(idle_ms), Limited::new(body, BODY_BYTES).collect()).await;
    let bytes: Bytes = match whole {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(ApiError::BodyTooLong { limit: BODY_BYTES }),
        Ok(Err(error)) => return Err(RegistryError::from(BodyError(error)).into()),
        Err(_) => return Err(RegistryError::Idle { idle_ms }.into()),
    };
    Ok(serde_json::from_slice(&bytes)?)
}
