//! The sources of a noun.

use std::collections::BTreeSet;

use super::{
    super::migrate::table_migration,
    field::{Field, Kind},
    noun::{Noun, Parent, capitalised},
};

/// The migration that creates its table.
pub(super) fn migration(noun: &Noun) -> String {
    let fields = || noun.fields.iter().map(|(field, _)| field);
    let columns = fields().map(|field| format!("{}(\"{}\")", field.function(), field.name)).collect::<Vec<_>>();
    let mut said = vec![format!(".columns([{}])", columns.join(", "))];
    for field in fields() {
        let name = &field.name;
        if let Some(parent) = field.parent() {
            said.push(format!(".references(\"{name}\", \"{parent}\")"));
        }
        if field.is_unique {
            said.push(format!(".unique(&[\"{name}\"])"));
        } else if field.parent().is_some() {
            said.push(format!(".index(&[\"{name}\"])"));
        }
    }
    table_migration(&noun.table, &said)
}

/// The file of the noun.
pub(super) fn domain(noun: &Noun) -> String {
    let Noun { model, words, table, fields, .. } = noun;
    let one = noun.with_article();
    let mut used = BTreeSet::from(["noun::*"]);
    for parent in fields.iter().filter_map(|(_, parent)| parent.as_ref()) {
        used.insert(&parent.model);
        if !parent.id.contains('<') {
            used.insert(&parent.id);
        }
    }
    let used = used.into_iter().collect::<Vec<_>>();
    let import = match &used[..] {
        [one] => (*one).to_owned(),
        several => format!("{{{}}}", several.join(", ")),
    };
    let kind = |(field, parent): &(Field, Option<Parent>)| match (&field.kind, parent) {
        (Kind::Reference(_), Some(parent)) => parent.id.clone(),
        (Kind::Text | Kind::Reference(_), _) => "String".to_owned(),
        (Kind::Integer, _) => "i64".to_owned(),
        (Kind::Boolean, _) => "bool".to_owned(),
        (Kind::Date, _) => "Day".to_owned(),
        (Kind::Timestamp, _) => "Timestamp".to_owned(),
    };
    let optional = |field: &Field, kind: String| if field.is_optional { format!("Option<{kind}>") } else { kind };
    let rule = |field: &Field| match field.kind {
        Kind::Text => "        #[validate(length(min = 1, max = 200), custom(function = \"line\"))]\n",
        _ => "",
    };

    let mut text = format!(
        "//! {}.\n\nuse crate::{import};\n\n/// The id of {one}.\npub type {model}Id = Id<{model}>;\n\nrecord! {{\n    \
         /// {}.\n    pub struct {model} = \"{words}\" in {table} {{\n",
        capitalised(&table.replace('_', " ")),
        capitalised(&one),
    );
    let mut line = |written: String| text.push_str(&written);
    for entry in fields {
        line(format!("        pub {}: {},\n", entry.0.name, optional(&entry.0, kind(entry))));
    }
    let names = |is_meant: &dyn Fn(&Field) -> bool| {
        fields
            .iter()
            .map(|(field, _)| field)
            .filter(|field| is_meant(field))
            .map(|field| field.name.as_str())
            .collect::<Vec<_>>()
    };
    let sorted = names(&Field::is_sortable).into_iter().chain(["created_at"]).collect::<Vec<_>>().join(", ");
    let filters = fields.iter().filter(|(field, _)| field.is_filter());
    let filters = filters.map(|entry| format!("{}: {}", entry.0.name, kind(entry))).collect::<Vec<_>>().join(", ");
    line(format!("    }}\n    sort: [{sorted}],\n    filter: {model}Filter {{ {filters} }},\n"));
    let references = fields.iter().filter_map(|(field, parent)| Some((field, parent.as_ref()?))).collect::<Vec<_>>();
    if !references.is_empty() {
        line("    relations: {\n".to_owned());
        for (field, parent) in &references {
            let (stem, parent) = (field.stem(), &parent.model);
            line(format!(
                "        /// Its {}.\n        {}: Relation<{model}, {parent}> = Relation::belongs_to(\"{stem}\", \"{}\"),\n",
                stem.replace('_', " "),
                stem.to_ascii_uppercase(),
                field.name,
            ));
        }
        line("    },\n".to_owned());
    }
    line(format!("}}\n\nnew! {{\n    /// What is needed to make {one}.\n    pub struct New{model} => {model} {{\n"));
    for entry in fields {
        let field = &entry.0;
        line(format!("{}        pub {}: {},\n", rule(field), field.name, optional(field, kind(entry))));
    }
    let kept = names(&|field: &Field| field.parent().is_some()).join(", ");
    let keeps = if kept.is_empty() { String::new() } else { format!(" keeps {{ {kept} }}") };
    line(format!(
        "    }}\n}}\nimpl Insert for New{model} {{}}\n\npatch! {{\n    /// A change of {one}.\n    \
         pub struct {model}Patch => {model}{keeps} {{\n"
    ));
    for entry in fields.iter().filter(|(field, _)| field.parent().is_none()) {
        let field = &entry.0;
        line(format!("{}        pub {}: Change<{}>,\n", rule(field), field.name, optional(field, kind(entry))));
    }
    line(format!("    }}\n}}\nimpl Patch for {model}Patch {{}}\n"));
    text
}

/// Its test.
pub(super) fn test(noun: &Noun) -> String {
    let Noun { name, table, fields, .. } = noun;
    let (path, one) = (noun.path(), noun.with_article());
    let mut parents = String::new();
    let mut values = String::new();
    let mut uses_number = false;
    let mut references = 0;
    for (field, parent) in fields {
        let (column, words) = (&field.name, field.name.replace('_', " "));
        uses_number |= matches!(field.kind, Kind::Text | Kind::Integer | Kind::Reference(_));
        let value = match (&field.kind, parent) {
            (Kind::Reference(table), Some(parent)) => {
                let (stem, segment) = (field.stem(), table.replace('_', "-"));
                // Two of them must not be equal in what is unique.
                let number = if references == 0 { "n".to_owned() } else { format!("n + {}", references * 1_000) };
                references += 1;
                let body = match parent.says_how {
                    true => format!("crate::{}::valid(service, {number})", parent.module),
                    false => format!("crate::resource::body(service, \"/v1/{segment}\", {number})"),
                };
                // What is made on the way there needs names of its own, and a future of known size.
                parents += &format!("    let {stem} = Box::pin({body}).await;\n");
                parents += &format!("    let {stem} = service.create(\"/v1/{segment}\", &{stem}).await;\n");
                format!("{stem}[\"id\"]")
            }
            (Kind::Text | Kind::Reference(_), _) => format!("format!(\"{words} {{n}}\")"),
            (Kind::Integer, _) => "n".to_owned(),
            (Kind::Boolean, _) => "true".to_owned(),
            (Kind::Date, _) => "\"2026-01-31\"".to_owned(),
            (Kind::Timestamp, _) => "\"2026-01-31T12:00:00Z\"".to_owned(),
        };
        values += &format!("        \"{column}\": {value},\n");
    }
    let changed = fields.iter().map(|(field, _)| field).find(|field| field.parent().is_none());
    let (column, value) = changed.map_or(("", ""), |field| {
        let value = match field.kind {
            Kind::Text | Kind::Reference(_) => "\"changed\"",
            Kind::Integer => "7",
            Kind::Boolean => "false",
            Kind::Date => "\"2026-02-01\"",
            Kind::Timestamp => "\"2026-02-01T12:00:00Z\"",
        };
        (field.name.as_str(), value)
    });
    // How an instant is written back is not its matter.
    let seen = match changed.map(|field| &field.kind) {
        Some(Kind::Timestamp) => "assert_eq!(changed[\"version\"], 2);".to_owned(),
        _ => format!("assert_eq!((&changed[\"version\"], &changed[\"{column}\"]), (&json!(2), &json!({value})));"),
    };
    let service = if parents.is_empty() { "_service" } else { "service" };
    let number = if uses_number { "n" } else { "_n" };
    format!(
        r#"//! {}.

use serde_json::{{Value, json}};
use tests::on_both;

use crate::http::Service;

/// A valid body, with all that it refers to in place.
pub(crate) async fn valid({service}: &Service, {number}: usize) -> Value {{
{parents}    json!({{
{values}    }})
}}

on_both!(
    async fn {article}_{name}_is_made_changed_and_deleted(database: TestDatabase) {{
        let service = Service::start(&database).await;
        let made = service.create("{path}", &valid(&service, 1).await).await;
        let path = format!("{path}/{{}}", made["id"].as_str().unwrap());
        assert_eq!(service.get(&path).await.expect(200), made);
        let changed = service.patch(&path, 1, &json!({{ "{column}": {value} }})).await.expect(200);
        {seen}
        assert_eq!(service.delete(&path, 2).await.status, 204);
        assert_eq!(service.get(&path).await.status, 404);
    }}
);
"#,
        capitalised(&table.replace('_', " ")),
        article = one.split(' ').next().unwrap_or("a"),
    )
}
