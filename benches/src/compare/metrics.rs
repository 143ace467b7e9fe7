//! What a node says of itself at `/metrics`.

use portolan_chaos_tests::Result;
use std::time::Duration;

/// All metrics of the node whose ops port is at `host:port`.
///
/// # Errors
/// When it does not answer.
pub async fn read(ops: &str) -> Result<String> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    Ok(http.get(format!("http://{ops}/metrics")).send().await?.error_for_status()?.text().await?)
}

/// The sum of a metric over all its labels that contain `label`; 0 when there is none.
#[must_use]
pub fn sum(text: &str, name: &str, label: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => ("", rest),
        };
        let value = value.strip_prefix(' ')?;
        if labels.contains(label) { value.trim().parse::<f64>().ok() } else { None }
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn labels_are_added_up_and_longer_names_are_others() {
        let text = "# HELP a_total x\na_total{source=\"local\"} 2\na_total{source=\"peer\",x=\"y\"} 3\na_total_more 7\nb 1.5\n";
        for (name, label, want) in
            [("a_total", "", 5.0), ("a_total", "source=\"local\"", 2.0), ("b", "", 1.5), ("c", "", 0.0)]
        {
            assert_eq!(sum(text, name, label), want, "{name} {label}");
        }
    }
}
