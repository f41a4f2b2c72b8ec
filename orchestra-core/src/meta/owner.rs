//! Who an object belongs to: `metadata.ownerReferences`.

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The owner that manages the object, if one does; at most one reference says so.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether the object with this uid manages the object.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// Whether the object with this uid is among the owners.
pub fn is_owned_by(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// The reference with which the object `owner` of kind `K` marks what it manages. `None` while `owner` has no name
/// and uid, which the server gives it.
pub fn controller_reference<K: Resource>(owner: &ObjectMeta) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: owner.name.clone()?,
        uid: owner.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSet;

    use super::*;

    #[test]
    fn the_controller_is_told_from_other_owners() {
        let owner = |uid: &str| ObjectMeta {
            name: Some("web".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        let managing = controller_reference::<ReplicaSet>(&owner("b")).unwrap();
        assert_eq!((managing.api_version.as_str(), managing.kind.as_str()), ("apps/v1", "ReplicaSet"));
        let other = OwnerReference { uid: "a".to_owned(), controller: None, ..managing.clone() };
        let meta = ObjectMeta { owner_references: Some(vec![other, managing]), ..ObjectMeta::default() };
        assert_eq!(controller_of(&meta).map(|owner| owner.uid.as_str()), Some("b"));
        assert!(is_owned_by(&meta, "a") && !is_controlled_by(&meta, "a") && is_controlled_by(&meta, "b"));
        assert!(controller_of(&ObjectMeta::default()).is_none());
        assert!(controller_reference::<ReplicaSet>(&ObjectMeta::default()).is_none());
    }
}
