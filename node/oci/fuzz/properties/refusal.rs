//! What holds for the message of every refusal.

/// Longer than any message may be: what it shows of the input is at most 64 characters, each escaped to at most ten.
const LONGEST: usize = 1024;

/// A client's terminal and a log line show it: it is short, and nothing in it moves the cursor or begins a line.
pub(crate) fn check_message(message: &str) {
    assert!(!message.is_empty(), "a refusal says nothing");
    assert!(message.len() <= LONGEST, "a message of {} bytes: {message:.200}", message.len());
    assert!(!message.contains(char::is_control), "a control character in {message:?}");
}
