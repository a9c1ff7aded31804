//! Generates the files of the entity crate and formats them, in memory as far as the caller can tell.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use sea_orm_codegen::{
    BannerVersion, BigIntegerType, DateTimeCrate, EntityFormat, EntityTransformer, EntityWriterContext, WithPrelude,
    WithSerde,
};
use sea_query::TableCreateStatement;
use tokio::process::Command;

use super::EntityError;

/// The contents of the files, by their names.
pub(super) type Files = BTreeMap<String, String>;

/// The name of the diagram beside the entities.
const DIAGRAM: &str = "entities.mermaid";

/// The files of the entity crate in `folder` for these tables. The folder is only looked at for its rustfmt settings.
pub(super) async fn render(
    tables: Vec<TableCreateStatement>,
    format: EntityFormat,
    folder: &Path,
) -> Result<Files, EntityError> {
    let writer = EntityTransformer::transform(tables).map_err(EntityError::Generate)?;
    let diagram = writer.generate_er_diagram();
    let mut files: Files =
        writer.generate(&context(format)).files.into_iter().map(|file| (file.name, file.content)).collect();
    rustfmt(&mut files, folder).await?;
    files.insert(DIAGRAM.to_owned(), diagram);
    Ok(files)
}

/// Every default of the command line tool, but the format and a `lib.rs`.
fn context(format: EntityFormat) -> EntityWriterContext {
    let with_copy_enums = false;
    let schema_name = None;
    let lib = true;
    let serde_skip_deserializing_primary_key = false;
    let serde_skip_hidden_column = false;
    let [model_derives, model_attributes, enum_derives, enum_attributes, column_derives] = [const { Vec::new() }; 5];
    let seaography = false;
    let impl_active_model_behavior = true;
    EntityWriterContext::new(
        format,
        WithPrelude::All,
        WithSerde::None,
        with_copy_enums,
        DateTimeCrate::Chrono,
        BigIntegerType::I64,
        schema_name,
        lib,
        serde_skip_deserializing_primary_key,
        serde_skip_hidden_column,
        model_derives,
        model_attributes,
        enum_derives,
        enum_attributes,
        column_derives,
        seaography,
        impl_active_model_behavior,
        BannerVersion::Minor,
    )
}

/// Formats in a temporary folder, with the settings that rustfmt would find for a file in `folder`.
pub(super) async fn rustfmt(files: &mut Files, folder: &Path) -> Result<(), EntityError> {
    let draft = tempfile::tempdir().map_err(|source| EntityError::File { path: std::env::temp_dir(), source })?;
    let mut rustfmt = Command::new("rustfmt");
    if let Some(settings) = rustfmt_settings(folder)? {
        rustfmt.arg("--config-path").arg(settings);
    }
    for (name, content) in &*files {
        let path = draft.path().join(name);
        fs::write(&path, content).map_err(|source| EntityError::File { path: path.clone(), source })?;
        rustfmt.arg(path);
    }
    let output = rustfmt.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            EntityError::RustfmtMissing
        } else {
            EntityError::File { path: PathBuf::from("rustfmt"), source }
        }
    })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // The stand-in that rustup puts into the PATH says so when the component is missing.
        return Err(if message.contains("is not installed") {
            EntityError::RustfmtMissing
        } else {
            EntityError::Rustfmt { message }
        });
    }
    for (name, content) in files {
        let path = draft.path().join(name);
        *content = fs::read_to_string(&path).map_err(|source| EntityError::File { path, source })?;
    }
    Ok(())
}

fn rustfmt_settings(folder: &Path) -> Result<Option<PathBuf>, EntityError> {
    let folder =
        std::path::absolute(folder).map_err(|source| EntityError::File { path: folder.to_path_buf(), source })?;
    Ok(folder
        .ancestors()
        .flat_map(|ancestor| [ancestor.join(".rustfmt.toml"), ancestor.join("rustfmt.toml")])
        .find(|path| path.is_file()))
}
