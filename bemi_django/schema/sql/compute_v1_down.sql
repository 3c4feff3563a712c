-- The role stays: it may serve other databases of the cluster.
DROP FUNCTION _bemi.make_compute_role_v1();
DROP FUNCTION _bemi.compute_v1(text, text[]);
