-- The roles and schemas of the services: run as a superuser, in the services' database, as often as you like.
-- A service owns the schema of its name and cannot even look into another's. Passwords are set elsewhere
-- (ALTER ROLE chat PASSWORD '...'): until then nobody can log in.

DO $$
DECLARE
    service text;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;

    FOREACH service IN ARRAY ARRAY['auth', 'chat', 'ai', 'billing'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
            EXECUTE format('CREATE ROLE %I', service);
        END IF;
        EXECUTE format(
            'ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', service
        );
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), service);
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', service, service);
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', service);
        EXECUTE format(
            'ALTER ROLE %I IN DATABASE %I SET search_path = %I', service, current_database(), service
        );
    END LOOP;
END
$$;
