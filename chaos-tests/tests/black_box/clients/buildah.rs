//! Buildah: an image is built on one that another region holds.

use super::shared::{at, busybox, layers, manifest, pull_whole};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::tool::{self, Home};

/// Images in the home alone, with a driver that works on any file system.
const STORE: [&str; 6] = ["--root", "storage", "--runroot", "run", "--storage-driver", "vfs"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buildah_builds_on_an_image_of_one_region_and_pushes_to_another() -> Result<()> {
    const NAME: &str = "buildah_builds_on_an_image_of_one_region_and_pushes_to_another";
    if !tool::have("buildah", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let buildah = async |arguments: &[&str]| home.run("buildah", &[&STORE, arguments].concat()).await;
    let base = busybox("amd64").await?;
    cluster.registry(0).push("lib/base", "v1", &base).await?;

    let recipe = format!("FROM {}\nCOPY word /word\nRUN cat /word /word >/twice\n", at(&cluster, 1, "lib/base:v1"));
    std::fs::create_dir(home.path().join("context"))?;
    std::fs::write(home.path().join("context/Containerfile"), recipe)?;
    std::fs::write(home.path().join("context/word"), "portolan")?;
    buildah(&["build", "--isolation=chroot", "--tls-verify=false", "--tag=built:v1", "context"]).await?;
    let near = format!("docker://{}", at(&cluster, 1, "team/built:v1"));
    buildah(&["push", "--tls-verify=false", "--digestfile=digest", "built:v1", &near]).await?;
    let pushed = std::fs::read_to_string(home.path().join("digest"))?;
    assert_eq!(pull_whole(&cluster, 0, "team/built", "v1").await?, pushed.trim());
    let (built, _) = manifest(&cluster, 2, "team/built", "v1").await?;
    assert!(layers(&built).len() >= 2, "{built}");

    buildah(&["rmi", "--all", "--force"]).await?;
    let far = at(&cluster, 2, "team/built:v1");
    let container = buildah(&["from", "--tls-verify=false", &far]).await?;
    let root = buildah(&["mount", container.trim()]).await?;
    assert_eq!(std::fs::read_to_string(format!("{}/twice", root.trim()))?, "portolanportolan");
    let busybox = std::fs::read(format!("{}/bin/busybox", root.trim()))?;
    assert!(busybox == std::fs::read("/bin/busybox")?, "the base came whole");
    buildah(&["umount", "--all"]).await?;
    buildah(&["rm", "--all"]).await?;

    // An index of what two nodes know.
    buildah(&["manifest", "create", "multi"]).await?;
    for (node, name) in [(0, "lib/base:v1"), (2, "team/built:v1")] {
        let member = format!("docker://{}", at(&cluster, node, name));
        buildah(&["manifest", "add", "--tls-verify=false", "multi", &member]).await?;
    }
    let near = format!("docker://{}", at(&cluster, 2, "team/multi:v1"));
    buildah(&["manifest", "push", "--all", "--tls-verify=false", "multi", &near]).await?;
    let (index, _) = manifest(&cluster, 0, "team/multi", "v1").await?;
    let members: Vec<&str> =
        index["manifests"].as_array().into_iter().flatten().filter_map(|member| member["digest"].as_str()).collect();
    assert_eq!(members, [&base.manifest.digest.to_string(), pushed.trim()], "{index}");
    for member in members {
        pull_whole(&cluster, 0, "team/multi", member).await?;
    }
    cluster.stop().await?;
    Ok(())
}
