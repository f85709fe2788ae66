# The image of every process. No build tool, test or secret is in the last stage.
# Pin the base by its digest before you rely on it: docs/install.md has the command.
FROM python:3.13.11-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# For op:// references or for Sentry: --build-arg REQUIREMENTS=requirements-onepassword.txt, or -sentry.txt.
ARG REQUIREMENTS=requirements.txt
WORKDIR /srv/kvops
COPY requirements.txt requirements-onepassword.txt requirements-sentry.txt requirements-build.txt ./
RUN python -m venv /srv/venv \
  && /srv/venv/bin/pip install --require-hashes --requirement "${REQUIREMENTS}" \
  && python -m venv /srv/build \
  && /srv/build/bin/pip install --require-hashes --requirement requirements-build.txt
COPY manage.py gunicorn.conf.py ./
COPY .ci/check.env .ci/check.env
COPY locale locale
COPY static static
COPY templates templates
COPY audit audit
COPY kvops kvops
COPY backups backups
RUN /srv/build/bin/pybabel --quiet compile --directory locale --domain django \
  && set -a && . .ci/check.env && set +a \
  && KVOPS_STATIC_ROOT=/srv/static /srv/venv/bin/python manage.py collectstatic --no-input -v0 \
  && /srv/venv/bin/python -m compileall -q audit kvops backups \
  && rm -r .ci requirements*.txt

FROM python:3.13.11-slim-trixie
ENV PATH=/srv/venv/bin:/usr/local/bin:/usr/bin:/bin HOME=/home/kvops \
  PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 KVOPS_STATIC_ROOT=/srv/static PORT=8000
RUN groupadd --gid 10001 kvops \
  && useradd --uid 10001 --gid 10001 --create-home --home-dir /home/kvops --shell /usr/sbin/nologin kvops
COPY --from=build /srv/venv /srv/venv
COPY --from=build /srv/static /srv/static
COPY --from=build /srv/kvops /srv/kvops
WORKDIR /srv/kvops
USER 10001:10001
EXPOSE 8000
# gunicorn listens on PORT; gunicorn.conf.py has the rest.
CMD ["gunicorn", "kvops.wsgi"]
