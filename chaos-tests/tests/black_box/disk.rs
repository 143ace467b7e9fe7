//! The disk that forgets, by itself: a process does something and dies; what is left is what had been synced.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::forget::{Disk, Forgetting, Survives};
use rustix::process::{Signal, getpid, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

const FOLDER: &str = "PORTOLAN_DISK_FOLDER";
const CASE: &str = "PORTOLAN_DISK_CASE";

type Acts = fn(&Path) -> std::io::Result<()>;

struct Case {
    name: &'static str,
    /// What the disk is told.
    orders: &'static str,
    /// What the process does before it dies. There are a file `old` with `durable` in it, an empty folder `empty`
    /// and a folder `full` with a file `inside`, all from before.
    acts: Acts,
    /// What is different then from before, path by path: contents, `/` for a folder, `None` for gone.
    left: &'static [(&'static str, Option<&'static str>)],
}

fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

fn append(path: &Path, text: &str) -> std::io::Result<File> {
    let mut file = File::options().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

const CASES: &[Case] = &[
    Case { name: "nothing", orders: "", acts: |_| Ok(()), left: &[] },
    Case {
        name: "a synced file in an unsynced folder has no name",
        orders: "",
        acts: |dir| append(&dir.join("new"), "text")?.sync_all(),
        left: &[],
    },
    Case {
        name: "an unsynced file in a synced folder is empty",
        orders: "",
        acts: |dir| append(&dir.join("new"), "text").and_then(|_| sync(dir)),
        left: &[("new", Some(""))],
    },
    Case {
        name: "a file is as long as at its last sync",
        orders: "",
        acts: |dir| {
            append(&dir.join("new"), "text")?.sync_data()?;
            sync(dir)?;
            append(&dir.join("new"), " and more")?;
            append(&dir.join("old"), " and more").map(|_| ())
        },
        left: &[("new", Some("text"))],
    },
    Case {
        name: "a skipped sync syncs nothing",
        orders: "skip=n*w",
        acts: |dir| {
            append(&dir.join("new"), "text")?.sync_data()?;
            append(&dir.join("old"), " more")?.sync_data()?;
            sync(dir)
        },
        left: &[("new", Some("")), ("old", Some("durable more"))],
    },
    Case {
        name: "a failed sync syncs nothing",
        orders: "fail=new",
        acts: |dir| {
            let failure = append(&dir.join("new"), "text")?.sync_data().expect_err("it was told to fail");
            assert_eq!(failure.raw_os_error(), Some(5), "EIO");
            sync(dir)
        },
        left: &[("new", Some(""))],
    },
    Case {
        name: "durable bytes that were changed come back",
        orders: "",
        acts: |dir| {
            let file = File::options().write(true).open(dir.join("old"))?;
            file.write_all_at(b"DUR", 0)?;
            file.write_all_at(b"xx", 1)?;
            file.set_len(4)?;
            file.write_all_at(b"...........", 4)
        },
        left: &[],
    },
    Case {
        name: "changed bytes stay when they were synced",
        orders: "",
        acts: |dir| {
            let file = File::options().write(true).open(dir.join("old"))?;
            file.write_all_at(b"DUR", 0)?;
            file.sync_data()?;
            file.write_all_at(b"xx", 0)
        },
        left: &[("old", Some("DURable"))],
    },
    Case {
        name: "a file that was emptied on opening has its bytes back",
        orders: "",
        acts: |dir| File::create(dir.join("old"))?.write_all(b"new text that is longer"),
        left: &[],
    },
    Case {
        name: "a replaced file is the old one until the folder is synced",
        orders: "",
        acts: |dir| {
            append(&dir.join("new"), "text")?.sync_all()?;
            fs::rename(dir.join("new"), dir.join("old"))
        },
        left: &[],
    },
    Case {
        name: "a replaced file is the new one when the folder is synced",
        orders: "",
        acts: |dir| {
            append(&dir.join("new"), "text")?.sync_all()?;
            fs::rename(dir.join("new"), dir.join("old"))?;
            sync(dir)
        },
        left: &[("old", Some("text"))],
    },
    Case {
        name: "a file renamed before it was synced is empty",
        orders: "",
        acts: |dir| {
            append(&dir.join("new"), "text")?;
            fs::rename(dir.join("new"), dir.join("old"))?;
            sync(dir)
        },
        left: &[("old", Some(""))],
    },
    Case {
        name: "a rename between folders is durable by either",
        orders: "",
        acts: |dir| {
            fs::rename(dir.join("full/inside"), dir.join("empty/there"))?;
            sync(&dir.join("empty"))
        },
        left: &[("full/inside", None), ("empty/there", Some("inside"))],
    },
    Case {
        name: "a rename between folders is undone whole",
        orders: "",
        acts: |dir| fs::rename(dir.join("full/inside"), dir.join("empty/there")).and_then(|()| sync(dir)),
        left: &[],
    },
    Case { name: "a removed file comes back", orders: "", acts: |dir| fs::remove_file(dir.join("old")), left: &[] },
    Case {
        name: "a file removed from a synced folder is gone",
        orders: "",
        acts: |dir| fs::remove_file(dir.join("old")).and_then(|()| sync(dir)),
        left: &[("old", None)],
    },
    Case { name: "a removed tree comes back", orders: "", acts: |dir| fs::remove_dir_all(dir.join("full")), left: &[] },
    Case {
        name: "a tree is gone when the folder above is synced",
        orders: "",
        acts: |dir| fs::remove_dir_all(dir.join("full")).and_then(|()| sync(dir)),
        left: &[("full", None), ("full/inside", None)],
    },
    Case {
        name: "a new folder is gone with all that was synced in it",
        orders: "",
        acts: |dir| {
            fs::create_dir(dir.join("made"))?;
            append(&dir.join("made/file"), "text")?.sync_all()?;
            sync(&dir.join("made"))
        },
        left: &[],
    },
    Case {
        name: "a new folder and what is in it need a sync each",
        orders: "",
        acts: |dir| {
            fs::create_dir(dir.join("made"))?;
            append(&dir.join("made/file"), "text")?.sync_all()?;
            sync(&dir.join("made"))?;
            append(&dir.join("made/other"), "text")?.sync_all()?;
            sync(dir)
        },
        left: &[("made", Some("/")), ("made/file", Some("text"))],
    },
    Case {
        name: "what is unsynced in a renamed folder is found",
        orders: "",
        acts: |dir| {
            append(&dir.join("full/new"), "text")?.sync_all()?;
            fs::rename(dir.join("full"), dir.join("moved"))?;
            sync(dir)
        },
        left: &[("full", None), ("full/inside", None), ("moved", Some("/")), ("moved/inside", Some("inside"))],
    },
    Case {
        name: "a link is a name like any other",
        orders: "",
        acts: |dir| {
            fs::hard_link(dir.join("old"), dir.join("empty/lasting"))?;
            sync(&dir.join("empty"))?;
            fs::hard_link(dir.join("old"), dir.join("empty/passing"))
        },
        left: &[("empty/lasting", Some("durable"))],
    },
    Case {
        name: "a name made, removed and made again",
        orders: "",
        acts: |dir| {
            append(&dir.join("new"), "one")?.sync_all()?;
            sync(dir)?;
            fs::remove_file(dir.join("new"))?;
            append(&dir.join("new"), "two")?.sync_all()
        },
        left: &[("new", Some("one"))],
    },
    Case {
        name: "folders made and removed again and again are not mistaken for each other",
        orders: "",
        acts: |dir| {
            for round in 0..20 {
                fs::create_dir(dir.join("made"))?;
                append(&dir.join("made/file"), &round.to_string())?.sync_all()?;
                sync(&dir.join("made"))?;
                sync(dir)?;
                fs::remove_dir_all(dir.join("made"))?;
            }
            Ok(())
        },
        left: &[("made", Some("/")), ("made/file", Some("19"))],
    },
    Case {
        name: "a copied descriptor and an odd name",
        orders: "",
        acts: |dir| {
            let file = append(&dir.join("tab\there %41 é"), "text")?;
            let mut copy = file.try_clone()?;
            drop(file);
            copy.sync_all()?;
            sync(dir)?;
            copy.write_all(b" more")
        },
        left: &[("tab\there %41 é", Some("text"))],
    },
];

/// Every file and folder below.
fn listing(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            found.insert(name.clone(), "/".to_owned());
            listing(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

/// Lets a process of its own do a case's acts and die of SIGKILL; gives what is left.
fn left_after(case: &Case, survives: Survives) -> Result<BTreeMap<String, String>> {
    let beside = tempfile::tempdir()?;
    let dir = beside.path().join("disk");
    let mut disk = Disk::new(&dir, beside.path(), Forgetting { survives, orders: case.orders.to_owned() })?;
    fs::write(dir.join("old"), "durable")?;
    fs::create_dir(dir.join("empty"))?;
    fs::create_dir(dir.join("full"))?;
    fs::write(dir.join("full/inside"), "inside")?;
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "disk::acts", "--ignored", "--nocapture"])
        .envs(disk.environment())
        .env(FOLDER, dir.canonicalize()?)
        .env(CASE, case.name)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "{}: {said}", case.name);
    disk.forget(pid)?;
    let mut found = BTreeMap::new();
    listing(&dir, "", &mut found)?;
    Ok(found)
}

#[test]
fn a_kill_leaves_what_was_synced_and_nothing_else() -> Result<()> {
    for case in CASES {
        let mut expected: BTreeMap<String, String> =
            [("old", "durable"), ("empty", "/"), ("full", "/"), ("full/inside", "inside")]
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into();
        for (path, text) in case.left {
            match text {
                Some(text) => expected.insert((*path).to_owned(), (*text).to_owned()),
                None => expected.remove(*path),
            };
        }
        assert_eq!(left_after(case, Survives::Nothing)?, expected, "{}", case.name);
    }
    Ok(())
}

#[test]
fn beginnings_survive_in_their_order() -> Result<()> {
    let case = Case { name: "beginnings", orders: "", acts: |_| unreachable!("done by name"), left: &[] };
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let found = left_after(&case, Survives::Beginnings(seed))?;
        let made: Vec<bool> = (0..5).map(|number| found.contains_key(&number.to_string())).collect();
        assert!(made.is_sorted_by(|earlier, later| earlier >= later), "seed {seed}: {made:?}");
        lengths.insert(made.iter().filter(|made| **made).count());
        assert!(found["old"].starts_with("durable"), "{found:?}");
    }
    assert!(lengths.len() > 2, "{lengths:?}");
    Ok(())
}

/// Not a test: what the processes of the tests above run.
#[test]
#[ignore = "dies of SIGKILL, as those that start it want"]
fn acts() -> Result<()> {
    let folder = std::env::var_os(FOLDER).expect("set by who starts it");
    let (folder, name) = (Path::new(&folder), std::env::var(CASE).expect("set by who starts it"));
    if name == "beginnings" {
        for number in 0..5 {
            append(&folder.join(number.to_string()), "text")?;
        }
        append(&folder.join("old"), " and more")?;
    } else {
        let case = CASES.iter().find(|case| case.name == name).expect("a case of that name");
        (case.acts)(folder)?;
    }
    kill_process(getpid(), Signal::KILL)?;
    Ok(())
}
