//! Helm: charts as artifacts.

use super::shared::at;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::tool::{self, Home};

/// Packages a chart of one template and gives the archive's name.
async fn package(home: &Home, version: &str) -> Result<String> {
    let chart = home.path().join("chart");
    std::fs::create_dir_all(chart.join("templates"))?;
    let about = format!("apiVersion: v2\nname: harbour\nversion: {version}\ndescription: Of the tests\n");
    std::fs::write(chart.join("Chart.yaml"), about)?;
    std::fs::write(chart.join("values.yaml"), "word: default\n")?;
    let template = "kind: ConfigMap\ndata:\n  word: {{ .Values.word }}\n  version: {{ .Chart.Version | quote }}\n";
    std::fs::write(chart.join("templates/map.yaml"), template)?;
    home.run("helm", &["package", "chart"]).await?;
    Ok(format!("harbour-{version}.tgz"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_pushes_charts_in_one_region_and_pulls_them_in_another() -> Result<()> {
    if !tool::have("helm", "helm_pushes_charts_in_one_region_and_pulls_them_in_another") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let charts = |node| format!("oci://{}", at(&cluster, node, "charts"));
    let chart = |node| format!("{}/harbour", charts(node));

    // A plus sign, which no tag can hold: helm writes it otherwise.
    let versions = ["1.2.3", "1.4.0+build.7", "2.0.0"];
    for (node, version) in versions.iter().enumerate() {
        let archive = package(&home, version).await?;
        home.run("helm", &["push", "--plain-http", &archive, &charts(node)]).await?;
        let far = (node + 1) % 3;
        std::fs::create_dir(home.path().join(version))?;
        home.run("helm", &["pull", "--plain-http", "--version", version, "-d", version, &chart(far)]).await?;
        let back = std::fs::read(home.path().join(version).join(&archive))?;
        assert!(back == std::fs::read(home.path().join(&archive))?, "{version} at node {far}");
    }

    // A range is resolved among the tags that the node lists.
    let shown = home.run("helm", &["show", "chart", "--plain-http", "--version=^1.0", &chart(2)]).await?;
    assert!(shown.contains("version: 1.4.0+build.7"), "{shown}");
    let text = home.run("helm", &["template", "--plain-http", "--set=word=other", "released", &chart(0)]).await?;
    assert!(text.contains("word: other") && text.contains("version: \"2.0.0\""), "{text}");
    cluster.stop().await?;
    Ok(())
}
