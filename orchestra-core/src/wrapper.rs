//! Objects read or written in a way of their own.

/// Makes a wrapper be of the kind of the object it holds, so that clients take it for that.
macro_rules! is_what_it_holds {
    ($wrapper:ident) => {
        impl<K: k8s_openapi::Resource> k8s_openapi::Resource for $wrapper<K> {
            const API_VERSION: &'static str = K::API_VERSION;
            const GROUP: &'static str = K::GROUP;
            const KIND: &'static str = K::KIND;
            const VERSION: &'static str = K::VERSION;
            const URL_PATH_SEGMENT: &'static str = K::URL_PATH_SEGMENT;
            type Scope = K::Scope;
        }

        impl<K: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>>
            k8s_openapi::Metadata for $wrapper<K>
        {
            type Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

            fn metadata(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                self.0.metadata()
            }

            fn metadata_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                self.0.metadata_mut()
            }
        }
    };
}
